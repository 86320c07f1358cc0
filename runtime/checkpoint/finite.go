package checkpoint

import (
	"encoding/binary"
	"fmt"
	"runtime"

	"mop/internal/files"
)

// CheckFinite reads every tensor of a model, on all cores. Its error names the
// first tensor, in the order of ExpectedTensors, that holds a NaN or an infinity,
// and the index of that element.
func CheckFinite(src Source) error {
	for _, info := range ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return err
		}
		i := firstNotFinite(t)
		if i < 0 {
			continue
		}
		file := ""
		if d, ok := src.(*Dir); ok {
			file = d.File(t.Name) + ": "
		}
		return fmt.Errorf("%s%s: element %v is not finite", file, withLayer(t.Name), unravelIndex(i, t.Shape))
	}
	return nil
}

// unravelIndex turns a flat index into one index per dimension.
func unravelIndex(i int, shape []int) []int {
	at := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		at[k], i = i%shape[k], i/shape[k]
	}
	return at
}

// firstNotFinite is the flat index of the first element that is NaN or infinite,
// or -1.
func firstNotFinite(t Tensor) int {
	size := t.DType.Size()
	n := len(t.Data) / size
	found := make([]int, runtime.GOMAXPROCS(0))
	files.Each(len(found), func(w int) {
		lo, hi := n*w/len(found), n*(w+1)/len(found)
		found[w] = scan(t.Data[lo*size:hi*size], t.DType)
		if found[w] >= 0 {
			found[w] += lo
		}
	})
	for _, i := range found {
		if i >= 0 {
			return i
		}
	}
	return -1
}

// scan finds the first element whose exponent is all ones, eight bytes at a time.
// Adding one to the exponent's last bit carries into the sign bit exactly for such
// elements, and never beyond the element, because the sign is masked out.
func scan(data []byte, d DType) int {
	exponent := [...]uint64{F32: 0x7f800000_7f800000, F16: 0x7c007c00_7c007c00, BF16: 0x7f807f80_7f807f80}[d]
	one := exponent &^ (exponent << 1) // the exponent's last bit
	sign := exponent << 1 &^ exponent  // the bit above the exponent
	const block = 64
	at := 0
	for ; at+block <= len(data); at += block {
		var carries uint64
		for b := data[at : at+block]; len(b) >= 16; b = b[16:] {
			carries |= binary.LittleEndian.Uint64(b)&exponent + one
			carries |= binary.LittleEndian.Uint64(b[8:])&exponent + one
		}
		if carries&sign != 0 {
			break
		}
	}
	size := d.Size()
	for ; at < len(data); at += size {
		var word [8]byte
		copy(word[:], data[at:at+size])
		if (binary.LittleEndian.Uint64(word[:])&exponent+one)&sign&(1<<(8*size)-1) != 0 {
			return at / size
		}
	}
	return -1
}
