package checkpoint

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
)

// CheckFinite names the first tensor of a model that holds a NaN or an infinity.
func CheckFinite(src Source) error {
	for _, info := range Expected(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return err
		}
		workers := runtime.GOMAXPROCS(0)
		n := len(t.Data) / t.DType.Size()
		found := make([]int, workers)
		var wg sync.WaitGroup
		for w := range workers {
			lo, hi := n*w/workers, n*(w+1)/workers
			wg.Go(func() { found[w] = notFinite(t, lo, hi) })
		}
		wg.Wait()
		for _, i := range found {
			if i >= 0 {
				return fmt.Errorf("%s: element %d is not finite", t.Name, i)
			}
		}
	}
	return nil
}

// notFinite is the first index in [lo, hi) whose exponent is all ones, or -1.
func notFinite(t Tensor, lo, hi int) int {
	if t.DType == F32 {
		for i := lo; i < hi; i++ {
			if binary.LittleEndian.Uint32(t.Data[4*i:])&0x7f800000 == 0x7f800000 {
				return i
			}
		}
		return -1
	}
	exponent := uint16(0x7c00)
	if t.DType == BF16 {
		exponent = 0x7f80
	}
	for i := lo; i < hi; i++ {
		if binary.LittleEndian.Uint16(t.Data[2*i:])&exponent == exponent {
			return i
		}
	}
	return -1
}
