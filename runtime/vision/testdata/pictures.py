"""Makes odd pictures and what transformers' CLIPImageProcessor gives for them.

    python pictures.py [DIR]

needs pillow, numpy, torch, torchvision and transformers. It writes pictures/, and
pixels.json with one row a case. The values are the pixels before they are rescaled and
normalised, as PNG files golden/*.png; of pictures of 336 x 336 only every third row and
column is kept. DIR is the folder with the photographs haotian-liu/*.jpg and images/*.
"""

import json
import pathlib
import sys

import numpy as np
import PIL
import transformers
from PIL import Image, PngImagePlugin
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

HERE = pathlib.Path(__file__).parent
OUT, GOLDEN = HERE / "pictures", HERE / "golden"
rng = np.random.default_rng(7)


def scene(w, h, channels=3):
    """Smooth colours with sharp edges and some noise."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    out = []
    for c in range(channels):
        v = 127 + 90 * np.sin(x / (5 + 3 * c) + c) * np.cos(y / (7 - c))
        v = np.where((x // 9 + y // 11) % 5 == c, 250 - 60 * c, v) + rng.normal(0, 6, (h, w))
        out.append(v)
    return np.clip(np.stack(out, -1), 0, 255).astype(np.uint8)


def exif(value):
    e = Image.Exif()
    e[0x0112] = value
    return e.tobytes()


def make():
    OUT.mkdir(exist_ok=True)
    rgb = Image.fromarray(scene(61, 47))
    rgb.save(OUT / "rgb.png")
    Image.fromarray(scene(47, 61)).save(OUT / "tall.png")
    Image.fromarray(scene(28, 28)).save(OUT / "exact.png")
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        rgb.save(OUT / f"j{name}.jpg", quality=85, subsampling=sampling)
    Image.fromarray(scene(28, 28)).save(OUT / "exact.jpg", quality=90, subsampling=2)
    rgb.save(OUT / "restart.jpg", quality=80, restart_marker_blocks=2, subsampling=2)
    rgb.save(OUT / "progressive.jpg", quality=70, progressive=True, subsampling=2)
    Image.fromarray(scene(3, 5)).save(OUT / "narrow.jpg", quality=90, subsampling=2)
    Image.fromarray(scene(61, 47, 1)[..., 0]).save(OUT / "grey.jpg", quality=85)
    rgb.convert("CMYK").save(OUT / "cmyk.jpg", quality=90)
    for o in range(1, 9):
        rgb.save(OUT / f"exif{o}.jpg", quality=85, exif=exif(o), subsampling=2)
    rgb.save(OUT / "exif6.png", exif=exif(6))
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>')
    rgb.save(OUT / "xmp3.png", pnginfo=xmp)
    rgb.save(OUT / "xmp8.jpg", quality=85, xmp=b'<x:xmpmeta><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>')
    rgb.save(OUT / "exif-big-endian.jpg", quality=85, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    alpha = np.dstack([scene(40, 30), np.linspace(0, 255, 1200).reshape(30, 40).astype(np.uint8)])
    Image.fromarray(alpha, "RGBA").save(OUT / "rgba.png")
    Image.fromarray(np.dstack([alpha[..., 0], alpha[..., 3]]), "LA").save(OUT / "la.png")
    Image.fromarray(alpha[..., 0]).save(OUT / "grey.png")
    Image.fromarray(alpha[..., 0]).convert("1").save(OUT / "bits1.png")
    Image.fromarray(alpha[..., 0]).quantize(4).save(OUT / "palette2.png", bits=2)
    Image.fromarray(alpha[..., :3]).quantize(200).save(OUT / "palette8.png")
    Image.fromarray(alpha[..., :3]).quantize(16).save(OUT / "palette-transparent.png", transparency=3)
    Image.fromarray(alpha[..., :3]).save(OUT / "rgb-transparent.png", transparency=tuple(int(v) for v in alpha[3, 3, :3]))
    Image.fromarray((np.arange(1200, dtype=np.uint32).reshape(30, 40) * 54).astype(np.uint16)).save(OUT / "grey16.png")
    png16(OUT / "rgb16.png", 2, np.repeat((rng.integers(0, 65536, (30, 40, 3))), 1, 0))
    png16(OUT / "rgba16.png", 6, rng.integers(0, 65536, (30, 40, 4)))
    Image.fromarray(scene(1, 1)).save(OUT / "one.png")
    Image.fromarray(scene(1, 200)).save(OUT / "line.png")
    Image.fromarray(scene(300, 2)).save(OUT / "wide.png")


def png16(path, colour, a):
    """Writes a PNG of 16 bits a channel, which Pillow cannot."""
    import struct
    import zlib
    h, w, _ = a.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in a)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, colour, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def levels(path, size, crop, pad):
    image = load_image(str(path))
    kind = LlavaImageProcessor if pad else CLIPImageProcessor
    more = {"do_pad": True} if pad else {}
    p = kind(size=size, crop_size={"height": crop[0], "width": crop[1]}, do_rescale=False, do_normalize=False, **more)
    out = p(image, input_data_format="channels_last", return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    assert out.min() >= 0 and out.max() <= 255 and (out == out.astype(np.uint8)).all()
    return out.astype(np.uint8)


def main():
    for stale in list(OUT.glob("*")) + list(GOLDEN.glob("*")):
        stale.unlink()
    GOLDEN.mkdir(exist_ok=True)
    make()
    cases = []

    def case(path, where, size, crop, pad):
        out = levels(path, size, crop, pad)
        step = 3 if crop[0] == 336 else 1
        name = f"{path.stem}-{path.suffix[1:]}-{'pad' if pad else 'crop'}-{crop[0]}x{crop[1]}.png"
        Image.fromarray(out[::step, ::step]).save(GOLDEN / name)
        cases.append({"picture": where, "size": size, "crop": crop, "pad": pad, "step": step, "golden": name})

    for path in sorted(OUT.iterdir()):
        case(path, path.name, {"shortest_edge": 28}, [28, 28], False)
        case(path, path.name, {"shortest_edge": 28}, [28, 28], True)
    case(OUT / "rgb.png", "rgb.png", {"shortest_edge": 20}, [31, 26], False)
    case(OUT / "j420.jpg", "j420.jpg", {"height": 24, "width": 40}, [24, 24], False)
    case(OUT / "rgb.png", "rgb.png", {"shortest_edge": 336}, [336, 336], False)
    case(OUT / "j420.jpg", "j420.jpg", {"shortest_edge": 336}, [336, 336], True)
    if len(sys.argv) > 1:
        data = pathlib.Path(sys.argv[1])
        for name in ("haotian-liu/waterview.jpg", "haotian-liu/extreme_ironing.jpg", "images/dog.jpg", "images/pasta.jpeg"):
            for pad in (False, True):
                case(data / name, "llava/" + name, {"shortest_edge": 336}, [336, 336], pad)
    p = CLIPImageProcessor(size={"shortest_edge": 4}, crop_size={"height": 4, "width": 4})
    values = p(load_image(str(OUT / "rgb.png")), return_tensors="np")["pixel_values"][0]
    (HERE / "pixels.json").write_text(json.dumps({
        "command": "python pictures.py DIR", "versions": {"pillow": PIL.__version__, "numpy": np.__version__, "transformers": transformers.__version__},
        "normalized": [round(float(v), 6) for v in values.flatten()], "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
