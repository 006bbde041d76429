"""The keyring of a fleet: the address of the signer of each key. A key may be a file, a hardware token or a KMS.

New private keys are ed25519, PEM (PKCS8), mode 0600, encrypted if NAS_FLEET_PASSWORD is set. The signed metadata, not
the keyring, defines which roles a key may sign.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, SecretsHandler, Signer, SSlibKey

from nas_pipeline.core.files import fsync_path, read_json, write_json
from nas_pipeline.errors import FleetError, KeysUnavailable

FILE = "keys.json"
PASSWORD = "NAS_FLEET_PASSWORD"
OFFLINE = "offline"
"""Subfolder of the keys of root, to be moved to offline media."""


class PemSigner(CryptoSigner):
    """Signer for `pem:PATH`: securesystemslib's `file2:` with support for passwords."""

    SCHEME = "pem"

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> CryptoSigner:
        """See `Signer.from_priv_key_uri`."""
        return _signer(Path(priv_key_uri.partition(":")[2]).read_bytes(), public_key)


class EnvironmentSigner(CryptoSigner):
    """Signer for `env:NAME`: the PEM text is in an environment variable, for secrets of CI systems."""

    SCHEME = "env"

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> CryptoSigner:
        """See `Signer.from_priv_key_uri`."""
        name = priv_key_uri.partition(":")[2]
        if name not in os.environ:
            raise FileNotFoundError(f"the environment variable {name} is not set")
        return _signer(os.environ[name].encode(), public_key)


SIGNER_FOR_URI_SCHEME.update({signer.SCHEME: signer for signer in (PemSigner, EnvironmentSigner)})


class Keyring:
    """The keys of a fleet: keys.json in its folder, and the folder of the private keys.

    Args:
        folder: The fleet's folder.
        keys: Folder of the private keys.
        key_folders: Additional folders in which a private key is searched by its file name.
    """

    def __init__(self, folder: Path, keys: Path, key_folders: Sequence[Path] = ()) -> None:
        self._file, self._keys, self._key_folders = folder / FILE, keys, tuple(key_folders)

    def create(self, role: str, *, offline: bool = False) -> Key:
        """Creates a key pair for `role`; only the owner may read the file of the private key.

        Raises:
            OSError: The file cannot be written.
        """
        directory = self._keys / OFFLINE if offline else self._keys
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = Ed25519PrivateKey.generate()
        number = 1
        while True:
            path = directory / f"{role}-{number}.pem"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                number += 1
        password = os.environ.get(PASSWORD, "").encode()
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(private.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password) if password else NoEncryption()
            ))
            stream.flush()
            os.fsync(stream.fileno())
        fsync_path(directory)
        key = SSlibKey.from_crypto(private.public_key())
        self.add(role, key, f"{PemSigner.SCHEME}:{path.relative_to(self._keys)}")
        return key

    def add(self, role: str, key: Key, uri: str) -> None:
        """Records the address of a key's signer: `pem:`, `file2:`, `env:`, `hsm:`, `awskms:`, `gcpkms:`, ..."""
        rows = self._rows()
        rows[key.keyid] = {"role": role, "uri": uri, "public": key.to_dict()}
        write_json(self._file, {"keys": rows})

    def keys_for(self, role: str) -> list[Key]:
        """Returns the keys that were created for `role`."""
        return [self._key(keyid, row) for keyid, row in self._rows().items() if row["role"] == role]

    def role_of(self, keyid: str) -> str:
        """Returns the role for which a key was created; empty for an unknown key."""
        return str(self._rows().get(keyid, {}).get("role", ""))

    def signer(self, keyid: str) -> Signer | None:
        """Returns the signer of a key; None if its private key is not available.

        Raises:
            KeysUnavailable: The private key cannot be used: it is another key, or the password is wrong.
        """
        row = self._rows().get(keyid)
        if row is None:
            return None
        uri = self._resolved(str(row["uri"]))
        try:
            return Signer.from_priv_key_uri(uri, self._key(keyid, row))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as error:
            raise KeysUnavailable(
                f"the key of {row['role']} at {row['uri']} cannot be used ({error}): check {PASSWORD}"
            ) from error

    def signers(self, keyids: Iterable[str]) -> list[Signer]:
        """Returns the signers of the keys that are available."""
        return [signer for keyid in keyids if (signer := self.signer(keyid)) is not None]

    def uri_of(self, keyid: str) -> str:
        """Returns the address of a key's signer."""
        return str(self._rows().get(keyid, {}).get("uri", "unknown key"))

    def _resolved(self, uri: str) -> str:
        scheme, _, rest = uri.partition(":")
        if scheme not in (PemSigner.SCHEME, CryptoSigner.SCHEME) or Path(rest).is_absolute():
            return uri
        candidates = [self._keys / rest, *(folder / Path(rest).name for folder in self._key_folders)]
        return f"{scheme}:{next((path for path in candidates if path.is_file()), candidates[0])}"

    def _rows(self) -> dict[str, dict[str, Any]]:
        try:
            rows: dict[str, dict[str, Any]] = read_json(self._file)["keys"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise FleetError(f"{self._file} is not a valid keyring ({error}): restore it from a copy") from error
        return rows

    @staticmethod
    def _key(keyid: str, row: dict[str, Any]) -> Key:
        return Key.from_dict(keyid, dict(row["public"]))


def _signer(pem: bytes, public: Key) -> CryptoSigner:
    password = os.environ.get(PASSWORD, "").encode()
    try:
        private = load_pem_private_key(pem, password or None)
    except TypeError:  # the key is not encrypted
        private = load_pem_private_key(pem, None)
    if not isinstance(public, SSlibKey):
        raise ValueError(f"a PEM file cannot sign for a {type(public).__name__}")
    return CryptoSigner(private, public)
