#!/usr/bin/env bash
# Writes random passwords for compose to the file $1 (default .env), which git ignores. Existing values are not changed.
set -euo pipefail
file="${1:-.env}"
umask 077
touch "$file"
chmod 600 "$file"
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
for name in POSTGRES_PASSWORD STORAGE_ACCESS_KEY STORAGE_SECRET_KEY PREFECT_PASSWORD; do
  grep -q "^$name=." "$file" || printf '%s=%s\n' "$name" "$(secret)" >> "$file"
done
