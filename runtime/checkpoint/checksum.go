package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync/atomic"

	"mop/internal/files"
)

// Checksum is the sha256, in hex, over the names, types, shapes and sha256 sums of
// all tensors in the order of ExpectedTensors. It differs between models of the same
// shape and does not depend on how the tensors are sharded. It reads everything, on
// all cores.
func Checksum(src Source) (string, error) {
	infos := ExpectedTensors(src.Config())
	parts := make([]string, len(infos))
	errs := make([]error, len(infos))
	var next atomic.Int64
	files.Each(runtime.GOMAXPROCS(0), func(int) {
		for i := int(next.Add(1)) - 1; i < len(infos); i = int(next.Add(1)) - 1 {
			t, err := src.Tensor(infos[i].Name)
			if err != nil {
				errs[i] = err
				continue
			}
			parts[i] = fmt.Sprintf("%s %v %v %x\n", t.Name, t.DType, t.Shape, sha256.Sum256(t.Data))
		}
	})
	all := sha256.New()
	for i, p := range parts {
		if errs[i] != nil {
			return "", errs[i]
		}
		all.Write([]byte(p))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
