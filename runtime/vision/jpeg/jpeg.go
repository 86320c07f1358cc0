// Package jpeg decodes JPEG files to the same samples as libjpeg: the inverse cosine
// transform, the interpolation of chroma and the conversion of colours round as it does.
// image/jpeg is as accurate, but differs from it by one or two levels in many pixels, and
// by more where it repeats chroma samples; a vision tower's input would differ as well.
//
// It reads sequential and progressive files of 8 bits with Huffman coding, of one, three
// or four components.
package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// component is a plane of samples.
type component struct {
	id               uint8
	h, v             int // samples in a unit, in blocks
	table            uint8
	width, height    int     // samples that belong to the picture
	blocksX, blocksY int     // blocks, with those that fill up the last units
	coefficients     []int16 // [blocksY, blocksX, 64]
	samples          []uint8 // [8*blocksY, 8*blocksX]
	dc               int     // of the block before
	dcTable, acTable *huffman
	quantization     *[64]int32 // as it was when the component's first scan began
	seen             bool
}

type decoder struct {
	width, height   int
	progressive     bool
	components      []component
	maxH, maxV      int
	unitsX, unitsY  int
	quantization    [4]*[64]int32
	huffman         [2][4]*huffman // DC and AC
	restartInterval int
	jfif, adobe     bool
	transform       uint8 // of the Adobe marker
}

// Markers.
const (
	startOfImage = 0xd8
	endOfImage   = 0xd9
	startOfScan  = 0xda
)

// Size reads the size of a picture and nothing that follows it.
func Size(data []byte) (width, height int, err error) {
	d := &decoder{}
	err = d.markers(data, false)
	if err == nil && d.components == nil {
		err = io.ErrUnexpectedEOF
	}
	return d.width, d.height, err
}

// Decode returns the picture's pixels: red, green and blue.   pix [height, width, 3]
func Decode(data []byte) (pix []uint8, width, height int, err error) {
	d := &decoder{}
	if err := d.markers(data, true); err != nil {
		return nil, 0, 0, err
	}
	if d.components == nil {
		return nil, 0, 0, errors.New("there is no picture in it")
	}
	for i := range d.components {
		c := &d.components[i]
		if !c.seen {
			return nil, 0, 0, fmt.Errorf("component %d has no data", c.id)
		}
		c.samples = make([]uint8, 64*c.blocksX*c.blocksY)
		for b := range c.blocksX * c.blocksY {
			at := b/c.blocksX*64*c.blocksX + b%c.blocksX*8
			inverseDCT(c.samples[at:], 8*c.blocksX, (*[64]int16)(c.coefficients[64*b:64*b+64]), c.quantization)
		}
		c.coefficients = nil
	}
	return d.pixels(), d.width, d.height, nil
}

// markers reads the segments of a file, up to the frame's header or with all scans.
func (d *decoder) markers(data []byte, scans bool) error {
	if len(data) < 2 || data[0] != 0xff || data[1] != startOfImage {
		return errors.New("want a JPEG file")
	}
	at := 2
	for {
		for at < len(data) && data[at] != 0xff { // libjpeg skips such bytes too
			at++
		}
		for at < len(data) && data[at] == 0xff {
			at++
		}
		if at >= len(data) {
			return d.atEnd(io.ErrUnexpectedEOF)
		}
		marker := data[at]
		at++
		if marker == endOfImage {
			return nil
		}
		if marker == 0 || marker == 1 || marker >= 0xd0 && marker <= startOfImage {
			continue // without a body
		}
		if at+2 > len(data) {
			return d.atEnd(io.ErrUnexpectedEOF)
		}
		n := int(binary.BigEndian.Uint16(data[at:]))
		if n < 2 || at+n > len(data) {
			return d.atEnd(io.ErrUnexpectedEOF)
		}
		body := data[at+2 : at+n]
		at += n
		if marker == startOfScan {
			if !scans {
				return errors.New("a scan comes before the frame's header")
			}
			read, err := d.scan(body, data[at:])
			if err != nil {
				return err
			}
			at += read
			continue
		}
		if err := d.segment(marker, body); err != nil {
			return err
		}
		if d.components != nil && !scans {
			return nil
		}
	}
}

// atEnd is the error of a file without its end: none where a sequential file has all data.
func (d *decoder) atEnd(err error) error {
	if d.progressive || d.components == nil {
		return err
	}
	for i := range d.components {
		if !d.components[i].seen {
			return err
		}
	}
	return nil
}

// segment reads a segment other than a scan.
func (d *decoder) segment(marker uint8, body []byte) error {
	switch {
	case marker == 0xc0 || marker == 0xc1 || marker == 0xc2:
		return d.frame(marker, body)
	case marker == 0xc4:
		return d.huffmanTables(body)
	case marker > 0xc2 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc:
		return fmt.Errorf("lossless, hierarchical or arithmetic coding (marker %#x): want sequential or progressive with Huffman coding", marker)
	case marker == 0xdb:
		return d.quantizationTables(body)
	case marker == 0xdd:
		if len(body) < 2 {
			return errors.New("a restart interval is too short")
		}
		d.restartInterval = int(binary.BigEndian.Uint16(body))
	case marker == 0xe0 && len(body) >= 5 && string(body[:5]) == "JFIF\x00":
		d.jfif = true
	case marker == 0xee && len(body) >= 12 && string(body[:5]) == "Adobe":
		d.adobe, d.transform = true, body[11]
	}
	return nil
}

// frame reads the size and the components.
func (d *decoder) frame(marker uint8, body []byte) error {
	if d.components != nil {
		return errors.New("there are two frames")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return errors.New("the frame's header has a wrong length")
	}
	if body[0] != 8 {
		return fmt.Errorf("want 8 bits a sample, got %d", body[0])
	}
	d.progressive = marker == 0xc2
	d.height, d.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	n := int(body[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("want 1, 3 or 4 components, got %d", n)
	}
	if d.width == 0 || d.height == 0 {
		d.components = make([]component, n) // Size reports it
		return nil
	}
	list := make([]component, n)
	for i := range list {
		c := &list[i]
		f := body[6+3*i:]
		c.id, c.h, c.v, c.table = f[0], int(f[1]>>4), int(f[1]&15), f[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.table > 3 {
			return fmt.Errorf("component %d: want sampling factors from 1 to 4 and a table from 0 to 3, got %d, %d and %d", c.id, c.h, c.v, c.table)
		}
		if n == 1 { // the factors of a single component mean nothing
			c.h, c.v = 1, 1
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	d.unitsX, d.unitsY = divideUp(d.width, 8*d.maxH), divideUp(d.height, 8*d.maxV)
	for i := range list {
		c := &list[i]
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return fmt.Errorf("component %d: sampling factors %d and %d do not divide %d and %d", c.id, c.h, c.v, d.maxH, d.maxV)
		}
		c.width, c.height = divideUp(d.width*c.h, d.maxH), divideUp(d.height*c.v, d.maxV)
		c.blocksX, c.blocksY = d.unitsX*c.h, d.unitsY*c.v
	}
	d.components = list
	return nil
}

func divideUp(a, b int) int { return (a + b - 1) / b }

func (d *decoder) huffmanTables(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return errors.New("a Huffman table is too short")
		}
		class, id, n := body[0]>>4, body[0]&15, 0
		for _, c := range body[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(body) < 17+n {
			return errors.New("a Huffman table is not valid")
		}
		h, err := newHuffman(body[1:17], body[17:17+n])
		if err != nil {
			return err
		}
		d.huffman[class][id] = h
		body = body[17+n:]
	}
	return nil
}

func (d *decoder) quantizationTables(body []byte) error {
	for len(body) > 0 {
		wide, id := body[0]>>4, body[0]&15
		size := 64
		if wide == 1 {
			size = 128
		}
		if wide > 1 || id > 3 || len(body) < 1+size {
			return errors.New("a quantization table is not valid")
		}
		t := &[64]int32{}
		for k := range t {
			if wide == 1 {
				t[natural[k]] = int32(binary.BigEndian.Uint16(body[1+2*k:]))
			} else {
				t[natural[k]] = int32(body[1+k])
			}
		}
		d.quantization[id] = t
		body = body[1+size:]
	}
	return nil
}

// pixels converts the planes to RGB.
func (d *decoder) pixels() []uint8 {
	pix := make([]uint8, 3*d.width*d.height)
	var planes []*rows
	for i := range d.components {
		planes = append(planes, newRows(&d.components[i], d.maxH, d.maxV))
	}
	luma := d.isYCC()
	var p [4][]uint8
	for y := range d.height {
		for i, r := range planes {
			p[i] = r.row(y)
		}
		row := pix[3*y*d.width : 3*(y+1)*d.width]
		for x := range d.width {
			to := row[3*x : 3*x+3]
			if len(planes) == 1 {
				to[0], to[1], to[2] = p[0][x], p[0][x], p[0][x]
				continue
			}
			a, b, c := p[0][x], p[1][x], p[2][x]
			if luma {
				a, b, c = toRGB(a, b, c)
			}
			if len(planes) == 4 {
				// Pillow takes all four inks as Adobe writes them, inverted. The colours
				// of a file with luma are inverted twice.
				k := 255 - p[3][x]
				if !luma {
					a, b, c = 255-a, 255-b, 255-c
				}
				a, b, c = ink(a, k), ink(b, k), ink(c, k)
			}
			to[0], to[1], to[2] = a, b, c
		}
	}
	return pix
}

// isYCC says whether the first three components are luma and chroma, by the rules of
// libjpeg.
func (d *decoder) isYCC() bool {
	switch {
	case len(d.components) == 1:
		return false
	case len(d.components) == 4:
		return d.adobe && d.transform != 0
	case d.jfif:
		return true
	case d.adobe:
		return d.transform != 0
	}
	ids := [3]uint8{d.components[0].id, d.components[1].id, d.components[2].id}
	return ids != [3]uint8{'R', 'G', 'B'}
}
