package checkpoint

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// Float32s widens a tensor to float32, exactly.
func Float32s(t Tensor) []float32 {
	out := make([]float32, len(t.Data)/t.DType.Size())
	for i := range out {
		switch t.DType {
		case F32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		case F16:
			out[i] = float16.Frombits(binary.LittleEndian.Uint16(t.Data[2*i:])).Float32()
		case BF16:
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	}
	return out
}
