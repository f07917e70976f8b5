"""Tokens of a token service, signed with RS256."""

import base64
import hashlib
import json
import re
import subprocess
import time

ISSUER, SERVICE = "issuer.bench", "service.bench"
# The DER form of "SHA-256 of", which PKCS #1 puts before a hash.
PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key of 2048 bits, and the certificate by which registries know it."""

    def __init__(self, directory):
        key, self.certificate = directory / "key.pem", directory / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            + ["-subj", "/CN=bench", "-keyout", key, "-out", self.certificate],
            check=True, capture_output=True,
        )
        text = subprocess.run(
            ["openssl", "rsa", "-in", key, "-noout", "-text"],
            check=True, capture_output=True, text=True,
        ).stdout
        numbers = dict(re.findall(r"^(\w+):\n((?:    [0-9a-f:]+\n)+)", text, re.M))
        number = {name: int(re.sub(r"[^0-9a-f]", "", value), 16) for name, value in numbers.items()}
        self.p, self.q, self.inverse = number["prime1"], number["prime2"], number["coefficient"]
        self.dp, self.dq = number["exponent1"], number["exponent2"]
        public = subprocess.run(
            ["openssl", "rsa", "-in", key, "-pubout", "-outform", "DER"],
            check=True, capture_output=True,
        ).stdout
        name = base64.b32encode(hashlib.sha256(public).digest()[:30]).decode()
        self.kid = ":".join(name[at : at + 4] for at in range(0, 48, 4))

    def sign(self, message):
        digest = PREFIX + hashlib.sha256(message).digest()
        padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
        number = int.from_bytes(padded, "big")
        one, other = pow(number, self.dp, self.p), pow(number, self.dq, self.q)
        both = other + self.q * ((one - other) * self.inverse % self.p)
        return both.to_bytes(256, "big")

    def token(self, rights):
        """A token for an hour, by repository and actions."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": "ci", "aud": SERVICE, "exp": now + 3600, "nbf": now - 60,
            "access": [
                {"type": "repository", "name": name, "actions": actions}
                for name, actions in rights.items()
            ],
        }
        header = {"typ": "JWT", "alg": "RS256", "kid": self.kid}
        parts = (encode(json.dumps(part).encode()) for part in (header, claims))
        message = ".".join(parts)
        return f"{message}.{encode(self.sign(message.encode()))}"
