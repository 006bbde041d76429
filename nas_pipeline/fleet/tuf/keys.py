"""Who can sign: private keys by id, each behind a signer's address, so that a file may become a token or a KMS.

Private keys of our making are ed25519, PEM (PKCS8), mode 0600, with a password where NAS_FLEET_PASSWORD is set. What
may be signed with which key is not said here but in the signed metadata.
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
"""Folder of the keys of root, below the others: made to be carried away."""


class PemSigner(CryptoSigner):
    """`pem:PATH`: like securesystemslib's `file2:`, and also with a password."""

    SCHEME = "pem"

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> CryptoSigner:
        """See `Signer.from_priv_key_uri`."""
        return _signer(Path(priv_key_uri.partition(":")[2]).read_bytes(), public_key)


class EnvironmentSigner(CryptoSigner):
    """`env:NAME`: the PEM text is in an environment variable, as CI systems keep secrets."""

    SCHEME = "env"

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> CryptoSigner:
        """See `Signer.from_priv_key_uri`."""
        name = priv_key_uri.partition(":")[2]
        if name not in os.environ:
            raise FileNotFoundError(f"the environment has no {name}")
        return _signer(os.environ[name].encode(), public_key)


SIGNER_FOR_URI_SCHEME.update({signer.SCHEME: signer for signer in (PemSigner, EnvironmentSigner)})


class Keyring:
    """keys.json of a fleet's folder, and the folder of its private keys.

    `elsewhere`: more folders in which to look for a private key by its file name, for keys on a stick.
    """

    def __init__(self, folder: Path, keys: Path, elsewhere: Sequence[Path] = ()) -> None:
        self._file, self._keys, self._elsewhere = folder / FILE, keys, tuple(elsewhere)

    def make(self, role: str, *, offline: bool = False) -> Key:
        """A new key pair for `role`; the private half is a file of its own that only its owner may read.

        Raises:
            StorageError: It cannot be written.
        """
        below = self._keys / OFFLINE if offline else self._keys
        below.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = Ed25519PrivateKey.generate()
        number = 1
        while True:
            path = below / f"{role}-{number}.pem"
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
        fsync_path(below)
        key = SSlibKey.from_crypto(private.public_key())
        self.add(role, key, f"{PemSigner.SCHEME}:{path.relative_to(self._keys)}")
        return key

    def add(self, role: str, key: Key, uri: str) -> None:
        """Remember who signs with `key`: `pem:`, `file2:`, `env:`, `hsm:`, `awskms:`, `gcpkms:`, `azurekms:`, ..."""
        rows = self._rows()
        rows[key.keyid] = {"role": role, "uri": uri, "public": key.to_dict()}
        write_json(self._file, {"keys": rows})

    def of(self, role: str) -> list[Key]:
        """The keys made for `role`, in no order that matters."""
        return [self._key(keyid, row) for keyid, row in self._rows().items() if row["role"] == role]

    def role_of(self, keyid: str) -> str:
        """What a key was made for; empty for one that is not ours."""
        return str(self._rows().get(keyid, {}).get("role", ""))

    def signer(self, keyid: str) -> Signer | None:
        """Who signs with a key; None where the private half is not at hand.

        Raises:
            KeysUnavailable: The file exists but cannot be read: another key, or another password.
        """
        row = self._rows().get(keyid)
        if row is None:
            return None
        uri = self._found(str(row["uri"]))
        try:
            return Signer.from_priv_key_uri(uri, self._key(keyid, row))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as error:
            raise KeysUnavailable(
                f"the key of {row['role']} at {row['uri']} cannot be used ({error}): is {PASSWORD} set, and right?"
            ) from error

    def signers(self, keyids: Iterable[str]) -> list[Signer]:
        """Those of them that are at hand."""
        return [signer for keyid in keyids if (signer := self.signer(keyid)) is not None]

    def place(self, keyid: str) -> str:
        """Where the private half is meant to be."""
        return str(self._rows().get(keyid, {}).get("uri", "not known here"))

    def _found(self, uri: str) -> str:
        scheme, _, rest = uri.partition(":")
        if scheme not in (PemSigner.SCHEME, CryptoSigner.SCHEME) or Path(rest).is_absolute():
            return uri
        places = [self._keys / rest, *(folder / Path(rest).name for folder in self._elsewhere)]
        return f"{scheme}:{next((place for place in places if place.is_file()), places[0])}"

    def _rows(self) -> dict[str, dict[str, Any]]:
        try:
            rows: dict[str, dict[str, Any]] = read_json(self._file)["keys"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise FleetError(f"{self._file} is not a list of keys ({error}): restore it from a copy") from error
        return rows

    @staticmethod
    def _key(keyid: str, row: dict[str, Any]) -> Key:
        return Key.from_dict(keyid, dict(row["public"]))


def _signer(pem: bytes, public: Key) -> CryptoSigner:
    password = os.environ.get(PASSWORD, "").encode()
    try:
        private = load_pem_private_key(pem, password or None)
    except TypeError:  # a password was given, and the key has none
        private = load_pem_private_key(pem, None)
    if not isinstance(public, SSlibKey):
        raise ValueError(f"a {type(public).__name__} is not signed for with a PEM file")
    return CryptoSigner(private, public)
