"""Sixty images in a hierarchy of four levels, the same in every run."""

import dataclasses
import functools
import hashlib
import json
import random
import typing

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
KIB = 1024
# How many images a level has, and the size of what each adds to its parent.
LEVELS = [
    ("base", 1, 5200 * KIB),
    ("platform", 3, 2400 * KIB),
    ("framework", 11, 1200 * KIB),
    ("service", 45, 500 * KIB),
]


@functools.cache
def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Image:
    def __init__(self, level, number, parent, data):
        self.name = f"{LEVELS[level][0]}/{number}"
        self.level, self.parent = level, parent
        self.layers = [*(parent.layers if parent else []), data]
        rootfs = {"type": "layers", "diff_ids": [digest_of(layer) for layer in self.layers]}
        config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, "author": self.name}
        self.config = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._described(self.config, "config.v1+json"),
            "layers": [self._described(layer, "layer.v1.tar") for layer in self.layers],
        }
        self.manifest = json.dumps(manifest).encode()

    @staticmethod
    def _described(data, kind):
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": digest_of(data), "size": len(data)}

    def blobs(self):
        return [*self.layers, self.config]


def fleet(seed, base=LEVELS[0][2]):
    """All images, level by level, on a base of so many bytes; the same seed gives the same bytes."""
    source = random.Random(f"fleet {seed}")
    levels = []
    for level, (_, count, size) in enumerate(LEVELS):
        size = size if levels else base
        above = levels[-1] if levels else [None]
        levels.append(
            [
                Image(level, number, above[number * len(above) // count], source.randbytes(size))
                for number in range(count)
            ]
        )
    return [image for level in levels for image in level]


def unique_bytes(images):
    return sum(len(data) for data in {data for image in images for data in image.blobs()})


def all_bytes(images):
    return sum(len(data) for image in images for data in image.blobs())


def one_after_another(images):
    """Each image follows its parent, as one long build would push them."""
    ordered = []

    def add(parent):
        for image in images:
            if image.parent is parent:
                ordered.append(image)
                add(image)

    add(None)
    return [[image] for image in ordered]


def level_by_level(images):
    return [[image for image in images if image.level == level] for level in range(len(LEVELS))]


def in_random_order(images):
    shuffled = list(images)
    random.Random("order").shuffle(shuffled)
    return [shuffled]


@dataclasses.dataclass(frozen=True)
class Order:
    """How the images are pushed."""

    # Stages that wait for each other.
    stages: typing.Callable
    # How many of a stage are pushed at once.
    width: int
    base: int = LEVELS[0][2]
    # How long a HEAD waits for an upload, in front of distribution.
    wait: str = "10s"

    def fleet(self, seed):
        return fleet(seed, self.base)


# In words.
ORDERS = {
    "one after another": Order(one_after_another, 1),
    "level by level, eight at a time": Order(level_by_level, 8),
    "eight at a time, in random order": Order(in_random_order, 8),
}
# What only waiting for uploads is measured with. A base of 100 MB takes eight seconds on the link.
CROWDS = {
    "32 at a time, in random order": Order(in_random_order, 32),
    "eight at a time, in random order, base of 100 MB": Order(
        in_random_order, 8, base=100_000_000, wait="25s"
    ),
}
