package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
)

// Sum is the sha256, in hex, over the tensors' names, types, shapes and sha256
// sums in the order of Expected: it tells models of one shape apart, and is the
// same however the tensors are spread over files. It reads everything, on all
// cores.
func Sum(src Source) (string, error) {
	infos := Expected(src.Config())
	parts := make([]string, len(infos))
	errs := make([]error, len(infos))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				t, err := src.Tensor(infos[i].Name)
				if err != nil {
					errs[i] = err
					continue
				}
				parts[i] = fmt.Sprintf("%s %v %v %x\n", t.Name, t.DType, t.Shape, sha256.Sum256(t.Data))
			}
		})
	}
	for i := range infos {
		next <- i
	}
	close(next)
	wg.Wait()
	all := sha256.New()
	for i, p := range parts {
		if errs[i] != nil {
			return "", errs[i]
		}
		all.Write([]byte(p))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
