"""Images are made smaller with Pillow, where it is installed; bombs and broken files are refused."""

from __future__ import annotations

import sys
import zlib
from io import BytesIO
from struct import pack

import pytest

from flexllm_core.errors import InputError, MissingExtraError
from flexllm_providers.media.image import require_pillow, shrink_image

MANY = 50_000_000


@pytest.fixture
def pillow():
    """Pillow's module `Image`."""
    pytest.importorskip("PIL", reason="Pillow is an extra")
    return require_pillow()[0]


def saved(image, kind, **options):
    """An image as a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(pillow, data):
    """A file as an image."""
    return pillow.open(BytesIO(data))


def png_head(width, height):
    """A PNG that says it has so many pixels, and holds none."""

    def chunk(name, data):
        return pack(">I", len(data)) + name + data + pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_without_pillow_the_extra_is_named(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"flexllm-providers\[media\]"):
        shrink_image(b"", 10, MANY)


@pytest.mark.parametrize(("kind", "expected"), [("PNG", "PNG"), ("JPEG", "JPEG"), ("WEBP", "WEBP"), ("BMP", "PNG")])
def test_the_longer_side_is_cut_to_the_limit(pillow, kind, expected):
    """Proportions are kept; formats that models do not read become PNG."""
    small = shrink_image(saved(pillow.new("RGB", (400, 200), "red"), kind), 100, MANY)
    image = opened(pillow, small)
    assert image.size == (100, 50)
    assert image.format == expected
    assert image.convert("RGB").getpixel((50, 25))[0] > 240


@pytest.mark.parametrize("size", [(100, 100), (100, 20), (1, 1)])
def test_an_image_that_is_small_enough_is_not_touched(pillow, size):
    """Not a byte: encoding again would only lose quality."""
    data = saved(pillow.new("RGB", size), "JPEG")
    assert shrink_image(data, 100, MANY) is data


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_colours_is_taken(pillow, mode):
    """Palettes, alpha, sixteen bits, printing colours."""
    kind = "TIFF" if mode in ("CMYK", "PA") else "PNG"
    image = opened(pillow, shrink_image(saved(pillow.new(mode, (300, 300)), kind), 100, MANY))
    assert image.size == (100, 100)


def test_transparency_is_kept(pillow):
    """Of a palette too."""
    image = pillow.new("P", (300, 300), 0)
    small = opened(pillow, shrink_image(saved(image, "PNG", transparency=0), 100, MANY))
    assert small.convert("RGBA").getpixel((5, 5))[3] == 0


def test_a_photograph_is_turned_upright_and_loses_its_metadata(pillow):
    """The place where it was taken is nobody's business."""
    image = pillow.new("RGB", (400, 200))
    exif = pillow.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "taken at home"
    small = shrink_image(saved(image, "JPEG", exif=exif), 100, MANY)
    assert opened(pillow, small).size == (50, 100)
    assert b"taken at home" not in small
    assert not opened(pillow, small).getexif()


def test_of_an_animation_the_first_picture_is_left(pillow):
    """Models look at one."""
    frames = [pillow.new("RGB", (300, 300), colour) for colour in ("red", "green", "blue")]
    small = shrink_image(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), 100, MANY)
    image = opened(pillow, small)
    assert image.convert("RGB").getpixel((50, 50)) == (255, 0, 0)
    assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (9500, 9500), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(pillow, width, height):
    """A few hundred bytes that would become gigabytes; also where Pillow itself warns or refuses."""
    with pytest.raises(InputError, match="pixels"):
        shrink_image(png_head(width, height), 100, MANY)


def test_the_limit_of_pixels_is_the_callers(pillow):
    """Exactly as many are allowed."""
    data = saved(pillow.new("L", (30, 20)), "PNG")
    assert opened(pillow, shrink_image(data, 10, 600)).size == (10, 7)
    with pytest.raises(InputError, match="30 x 20 pixels; the limit is 599"):
        shrink_image(data, 10, 599)


def test_broken_images_are_refused(pillow):
    """Cut at any place, or with any byte changed: a smaller image, or a typed error."""
    data = saved(pillow.new("RGB", (64, 64), "red"), "PNG")
    damaged = [data[:size] for size in range(0, len(data), 7)]
    damaged += [data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(8, len(data), 5)]
    refused = 0
    for each in damaged:
        try:
            shrink_image(each, 10, MANY)
        except InputError:
            refused += 1
    assert refused > len(damaged) // 2


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 999 999\n", b"P6 999 999 255 "]
)
def test_other_decoders_of_pillow_are_not_reached(pillow, data):
    """Postscript would start a program; what is not on the list is not opened."""
    with pytest.raises(InputError, match="none of PNG, JPEG"):
        shrink_image(data, 10, MANY)
