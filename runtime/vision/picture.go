// Package vision runs the vision side of a LLaVA: it decodes and preprocesses pictures,
// computes their features with a CLIP vision tower, and projects them to embeddings that
// take the place of image tokens in the input of the language model.
package vision

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"strings"

	"mop/internal/files"
	"mop/runtime/vision/jpeg"
)

const (
	// MaxBytes bounds the file of a picture.
	MaxBytes = 256 << 20
	// MaxPixels bounds a decoded picture. It is the size from which Pillow warns of
	// decompression bombs.
	MaxPixels = 89_478_485
)

// ErrPicture is wrapped by errors about a picture that cannot be read.
var ErrPicture = errors.New("not a readable picture")

// Picture is a decoded picture of three 8-bit channels: red, green, blue.
type Picture struct {
	Width, Height int
	Pix           []uint8 // [Height, Width, 3]
}

func newPicture(width, height int) *Picture {
	return &Picture{width, height, make([]uint8, 3*width*height)}
}

// ReadPicture reads a JPEG or PNG file. Errors name the file.
func ReadPicture(path string) (*Picture, error) {
	data, err := files.Read(path, MaxBytes)
	if err != nil && strings.Contains(path, "://") {
		return nil, fmt.Errorf("%s: want a file; mop fetches nothing from the network", path)
	}
	if err != nil {
		return nil, err
	}
	p, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Decode decodes a JPEG or PNG picture as transformers' load_image does: the format is
// read from the data and not from a name, the orientation that EXIF or XMP data states is
// applied, transparency is dropped, and other colour models become RGB. The size is
// checked before any pixel is decoded.
func Decode(data []byte) (*Picture, error) { return DecodeUpTo(data, MaxPixels) }

// DecodeUpTo is Decode for pictures of at most so many pixels.
func DecodeUpTo(data []byte, pixels int) (*Picture, error) {
	p, orientation, err := decodeStored(data, min(pixels, MaxPixels))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return p.oriented(orientation), nil
}

func decodeStored(data []byte, pixels int) (p *Picture, orientation int, err error) {
	switch {
	case len(data) == 0:
		return nil, 0, errors.New("the file is empty")
	case bytes.HasPrefix(data, []byte("\xff\xd8")):
		w, h, err := jpeg.Size(data)
		if err := checkSize(image.Config{Width: w, Height: h}, pixels, err); err != nil {
			return nil, 0, fmt.Errorf("JPEG: %w", err)
		}
		p = &Picture{}
		if p.Pix, p.Width, p.Height, err = jpeg.Decode(data); err != nil {
			return nil, 0, fmt.Errorf("JPEG: %w", truncated(err))
		}
		return p, jpegOrientation(data), nil
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		config, err := png.DecodeConfig(bytes.NewReader(data))
		if err := checkSize(config, pixels, err); err != nil {
			return nil, 0, fmt.Errorf("PNG: %w", err)
		}
		m, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, 0, fmt.Errorf("PNG: %w", truncated(err))
		}
		return fromImage(m), pngOrientation(data), nil
	}
	return nil, 0, fmt.Errorf("want JPEG or PNG, got %s", otherFormat(data))
}

// truncated explains the error of a file that ends too soon.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the file is truncated")
	}
	return err
}

// checkSize refuses pictures that have no pixels or too many.
func checkSize(c image.Config, pixels int, err error) error {
	if err != nil {
		return truncated(err)
	}
	if c.Width < 1 || c.Height < 1 {
		return fmt.Errorf("want at least 1 x 1 pixels, got %d x %d", c.Width, c.Height)
	}
	if c.Width > pixels/c.Height {
		return fmt.Errorf("want at most %d pixels, got %d x %d", pixels, c.Width, c.Height)
	}
	return nil
}

// otherFormat names what a file is instead.
func otherFormat(data []byte) string {
	for _, f := range []struct{ magic, name string }{
		{"GIF8", "GIF"}, {"BM", "BMP"}, {"II*\x00", "TIFF"}, {"MM\x00*", "TIFF"}, {"%PDF", "PDF"}, {"<svg", "SVG"}, {"<?xml", "XML"},
	} {
		if bytes.HasPrefix(data, []byte(f.magic)) {
			return f.name
		}
	}
	if len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP" {
		return "WebP"
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		return "a file of type " + strings.TrimSpace(fmt.Sprintf("%q", data[8:12]))
	}
	return fmt.Sprintf("a file that starts with %q", data[:min(8, len(data))])
}

// fromImage turns a decoded image into RGB, as Pillow's convert does.
func fromImage(m image.Image) *Picture {
	b := m.Bounds()
	p := newPicture(b.Dx(), b.Dy())
	for y := range p.Height {
		row := p.Pix[3*y*p.Width : 3*(y+1)*p.Width]
		for x := range p.Width {
			rgb := row[3*x : 3*x+3]
			rgb[0], rgb[1], rgb[2] = pixelAt(m, b.Min.X+x, b.Min.Y+y)
		}
	}
	return p
}

// pixelAt is one pixel without its transparency.
func pixelAt(m image.Image, x, y int) (r, g, b uint8) {
	switch m := m.(type) {
	case *image.Gray:
		v := m.GrayAt(x, y).Y
		return v, v, v
	case *image.Gray16: // Pillow cuts 16 bits of grey off at 255, but takes the upper half of colours
		v := uint8(min(m.Gray16At(x, y).Y, 255))
		return v, v, v
	case *image.NRGBA:
		c := m.NRGBAAt(x, y)
		return c.R, c.G, c.B
	case *image.NRGBA64:
		c := m.NRGBA64At(x, y)
		return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
	case *image.RGBA64: // as PNG decodes opaque colours of 16 bits
		c := m.RGBA64At(x, y)
		return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
	case *image.Paletted:
		switch c := m.Palette[m.ColorIndexAt(x, y)].(type) {
		case color.NRGBA:
			return c.R, c.G, c.B
		case color.RGBA: // opaque
			return c.R, c.G, c.B
		}
	}
	c := color.RGBAModel.Convert(m.At(x, y)).(color.RGBA)
	return c.R, c.G, c.B
}

// oriented applies an EXIF orientation, 1 to 8.
func (p *Picture) oriented(orientation int) *Picture {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.Width, p.Height
	if orientation >= 5 {
		w, h = h, w
	}
	q := newPicture(w, h)
	for y := range h {
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2:
				sx = w - 1 - x
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, w-1-x
			case 7:
				sx, sy = h-1-y, w-1-x
			case 8:
				sx, sy = h-1-y, x
			}
			copy(q.Pix[3*(y*w+x):][:3], p.Pix[3*(sy*p.Width+sx):][:3])
		}
	}
	return q
}
