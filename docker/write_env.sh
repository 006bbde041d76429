#!/usr/bin/env bash
# Random passwords for compose in the file $1 (default .env), which git ignores. What is in it already stays.
set -euo pipefail
file="${1:-.env}"
umask 077
touch "$file"
chmod 600 "$file"
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
for name in POSTGRES_PASSWORD STORAGE_ACCESS_KEY STORAGE_SECRET_KEY PREFECT_PASSWORD; do
  grep -q "^$name=." "$file" || printf '%s=%s\n' "$name" "$(secret)" >> "$file"
done
