package vision

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"io"
	"regexp"
	"strings"
)

// maxMetadata bounds the decompressed size of a PNG's text.
const maxMetadata = 1 << 20

// jpegOrientation is the orientation that a JPEG's EXIF data states, or else its XMP data;
// 1 where there is none.
func jpegOrientation(data []byte) int {
	var exif, xmp []byte
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker := data[at+1]
		if marker == 0xff { // a fill byte
			at++
			continue
		}
		if marker == 0xda || marker == 0xd9 { // pixels begin, or the end
			break
		}
		n := int(binary.BigEndian.Uint16(data[at+2:]))
		if n < 2 || at+2+n > len(data) {
			break
		}
		body := data[at+4 : at+2+n]
		if rest, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == 0xe1 && exif == nil {
			exif = rest
		}
		if rest, ok := bytes.CutPrefix(body, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok && marker == 0xe1 {
			xmp = rest
		}
		at += 2 + n
	}
	return orientation(exif, xmp)
}

// pngOrientation is the same of a PNG's eXIf chunk and texts.
func pngOrientation(data []byte) int {
	var exif, raw, xmp []byte
	for at := 8; at+12 <= len(data); {
		n := int(binary.BigEndian.Uint32(data[at:]))
		if n < 0 || n > len(data)-at-12 {
			break
		}
		body := data[at+8 : at+8+n]
		switch string(data[at+4 : at+8]) {
		case "eXIf":
			exif = bytes.TrimPrefix(body, []byte("Exif\x00\x00"))
		case "tEXt", "zTXt", "iTXt":
			key, text := pngText(string(data[at+4:at+8]), body)
			switch key {
			case "XML:com.adobe.xmp":
				xmp = text
			case "Raw profile type exif":
				raw = rawProfile(text)
			}
		}
		at += 12 + n
	}
	if exif == nil {
		exif = raw
	}
	return orientation(exif, xmp)
}

// pngText reads a text chunk.
func pngText(kind string, body []byte) (key string, text []byte) {
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return "", nil
	}
	packed := false
	switch {
	case kind == "zTXt" && len(rest) > 0:
		packed, rest = true, rest[1:]
	case kind == "iTXt" && len(rest) > 2:
		packed = rest[0] == 1
		_, rest, _ = bytes.Cut(rest[2:], []byte{0}) // the language
		_, rest, _ = bytes.Cut(rest, []byte{0})     // the translated key
	}
	if !packed {
		return string(name), rest
	}
	z, err := zlib.NewReader(bytes.NewReader(rest))
	if err != nil {
		return "", nil
	}
	text, _ = io.ReadAll(io.LimitReader(z, maxMetadata))
	return string(name), text
}

// rawProfile decodes ImageMagick's form of EXIF data: a name and a length, each on a line,
// and hexadecimal digits.
func rawProfile(text []byte) []byte {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 4 {
		return nil
	}
	out, _ := hex.DecodeString(strings.Join(lines[3:], ""))
	return bytes.TrimPrefix(out, []byte("Exif\x00\x00"))
}

var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation reads the tag of EXIF data, which is a TIFF file, or else of XMP data.
func orientation(exif, xmp []byte) int {
	if v, ok := exifOrientation(exif); ok {
		return v
	}
	if m := xmpOrientation.FindSubmatch(xmp); m != nil {
		return int(m[1][0] - '0')
	}
	return 1
}

func exifOrientation(tiff []byte) (int, bool) {
	if len(tiff) < 8 {
		return 0, false
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0, false
	}
	at := int64(order.Uint32(tiff[4:]))
	if at < 8 || at+2 > int64(len(tiff)) {
		return 0, false
	}
	const orientationTag, entry = 0x0112, 12
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < entry {
			return 0, false
		}
		if order.Uint16(entries) == orientationTag {
			switch kind := order.Uint16(entries[2:]); kind {
			case 1: // a byte
				return int(entries[8]), true
			case 3: // 16 bits
				return int(order.Uint16(entries[8:])), true
			case 4: // 32 bits
				return int(order.Uint32(entries[8:])), true
			}
			return 0, false
		}
		entries = entries[entry:]
	}
	return 0, false
}
