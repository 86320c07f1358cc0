package search

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mop/prune/refit"
)

// momentFiles is the directory of the second moments that all jobs share. A file holds those
// of one matrix, float64 [cols, cols], and appears when it is complete.
type momentFiles string

// momentFiles makes the directory. Its name depends on what the moments depend on.
func (r *run) momentFiles() (momentFiles, error) {
	key, err := json.Marshal([]string{r.checksum, r.texts["calibration"], fmt.Sprint(r.Prompts), r.dev.Capabilities().Name})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(key)
	dir := filepath.Join(r.dir(), "moments-"+hex.EncodeToString(sum[:4]))
	return momentFiles(dir), os.MkdirAll(dir, 0o777)
}

func (d momentFiles) path(layer int, which refit.Matrix) string {
	return filepath.Join(string(d), fmt.Sprintf("%d-%s", layer, which))
}

func (d momentFiles) has(layer int, which refit.Matrix) bool {
	_, err := os.Stat(d.path(layer, which))
	return err == nil
}

func (d momentFiles) write(layer int, which refit.Matrix, x []float64) error {
	data := make([]byte, 0, 8*len(x))
	for _, v := range x {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	return renameio.WriteFile(d.path(layer, which), data, 0o666)
}

func (d momentFiles) read(layer int, which refit.Matrix, cols int) ([]float64, error) {
	data, err := os.ReadFile(d.path(layer, which))
	if err != nil {
		return nil, err
	}
	if len(data) != 8*cols*cols {
		return nil, fmt.Errorf("%s: want %d bytes, got %d: remove it", d.path(layer, which), 8*cols*cols, len(data))
	}
	x := make([]float64, cols*cols)
	for i := range x {
		x[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return x, nil
}
