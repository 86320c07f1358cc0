package sentencepiece

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// fields calls each for every field of a protobuf message: v is the value of a number,
// b that of a string or a message, a part of data.
func fields(data []byte, each func(field int, v uint64, b []byte) error) error {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 || tag>>3 == 0 || tag>>3 >= 1<<29 {
			return errors.New("bad field tag")
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(data); n <= 0 {
				return errors.New("bad number")
			}
			data = data[n:]
		case 1:
			if len(data) < 8 {
				return errors.New("truncated")
			}
			v, data = binary.LittleEndian.Uint64(data), data[8:]
		case 2:
			size, n := binary.Uvarint(data)
			if n <= 0 || size > uint64(len(data)-n) {
				return errors.New("truncated")
			}
			b, data = data[n:n+int(size)], data[n+int(size):]
		case 5:
			if len(data) < 4 {
				return errors.New("truncated")
			}
			v, data = uint64(binary.LittleEndian.Uint32(data)), data[4:]
		default:
			return fmt.Errorf("wire type %d", tag&7)
		}
		if err := each(int(tag>>3), v, b); err != nil {
			return err
		}
	}
	return nil
}

// appendNumber, appendFloat and appendBytes append a field of a protobuf message.
func appendNumber(to []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(to, uint64(field)<<3), v)
}

func appendFloat(to []byte, field int, v float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(to, uint64(field)<<3|5), math.Float32bits(v))
}

func appendBytes[T string | []byte](to []byte, field int, v T) []byte {
	to = binary.AppendUvarint(binary.AppendUvarint(to, uint64(field)<<3|2), uint64(len(v)))
	return append(to, v...)
}

func appendBool(to []byte, field int, v bool) []byte {
	if v {
		return appendNumber(to, field, 1)
	}
	return appendNumber(to, field, 0)
}
