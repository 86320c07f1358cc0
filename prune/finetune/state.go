package finetune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/train"
)

// A run keeps what it needs to go on in OUT.training: run.json says which run it
// is, state-N.safetensors holds parameters and moments after N steps. A state is
// written beside its name and renamed; the one before it goes only then.
type store struct {
	dir    string
	done   int // steps of the newest state
	unlock func()

	losses [3]float32 // of the first step, of the last, and of the first pass before training
}

// lossesName is the tensor of a state that holds them.
const lossesName = "losses"

// headFile says which run a store is of.
const headFile = "run.json"

type storeHead struct {
	Run string `json:"run"`
}

// openStore begins a run's directory, or with resume goes on with it: the same run
// only, and one at a time.
func openStore(out, run string, resume bool) (*store, error) {
	s := &store{dir: filepath.Clean(out) + ".training"}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, err
	}
	var err error
	if s.unlock, err = checkpoint.Lock(s.dir); errors.Is(err, checkpoint.ErrBusy) {
		return nil, fmt.Errorf("%s: another run is at work here", s.dir)
	} else if err != nil {
		return nil, err
	}
	if err := s.begin(run, resume); err != nil {
		os.Remove(s.dir) // where nothing is in it
		s.unlock()
		return nil, err
	}
	return s, nil
}

// begin writes which run it is, or holds it to what is written where that has
// kept a state: else there is nothing to lose.
func (s *store) begin(run string, resume bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var states []int
	for _, e := range entries {
		if n, ok := stateSteps(e.Name()); ok {
			states = append(states, n)
		} else if e.Name() != headFile && !strings.HasPrefix(e.Name(), ".") { // a kill leaves hidden ones
			return fmt.Errorf("%s: %s in it is of no training: give another --out", s.dir, e.Name())
		}
	}
	head := filepath.Join(s.dir, headFile)
	if len(states) == 0 {
		text, err := json.Marshal(storeHead{run})
		if err != nil {
			return err
		}
		return renameio.WriteFile(head, append(text, '\n'), 0o666)
	}
	text, err := os.ReadFile(head)
	if err != nil {
		return err
	}
	if !resume {
		return fmt.Errorf("%s: a run has been here: give --resume to go on with it, or another --out", s.dir)
	}
	var h storeHead
	if json.Unmarshal(text, &h) != nil || h.Run != run {
		return fmt.Errorf("%s: of another run (other model, data or options): give another --out", head)
	}
	s.done = slices.Max(states)
	for _, n := range states {
		if n != s.done { // a kill came between
			if err := os.Remove(filepath.Join(s.dir, stateName(n))); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateSteps is how many steps the state of a name was written after.
func stateSteps(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(name, ".safetensors"), "state-"))
	return n, err == nil && name == stateName(n)
}

func stateName(steps int) string { return fmt.Sprintf("state-%d.safetensors", steps) }

// fields are a parameter's tensors in a state.
func fields(p *train.Param) map[string]device.Buffer {
	m, v := p.Moments()
	return map[string]device.Buffer{p.Name: p.Value, p.Name + ".m": m, p.Name + ".v": v}
}

// save puts the state after some steps on disk.
func (s *store) save(dev device.Device, params []*train.Param, steps int) error {
	f, err := renameio.NewPendingFile(filepath.Join(s.dir, stateName(steps)), renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	var specs []checkpoint.TensorSpec
	for _, p := range params {
		for _, suffix := range []string{"", ".m", ".v"} {
			specs = append(specs, bufferSpec(dev, p.Name+suffix, fields(p)[p.Name+suffix]))
		}
	}
	specs = append(specs, checkpoint.TensorSpec{Name: lossesName, DType: checkpoint.F32, Shape: []int{len(s.losses)}, Write: func(w checkpoint.Writer) error {
		return writeFloats(w, checkpoint.F32, s.losses[:])
	}})
	if err := checkpoint.WriteTensorFile(f, specs); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	if old := s.done; old > 0 && old != steps {
		err = os.Remove(filepath.Join(s.dir, stateName(old)))
	}
	s.done = steps
	return err
}

// load brings the newest state back.
func (s *store) load(dev device.Trainer, params []*train.Param) error {
	b, err := checkpoint.OpenTensorFile(filepath.Join(s.dir, stateName(s.done)))
	if err != nil {
		return err
	}
	defer b.Close()
	for _, p := range params {
		for name, to := range fields(p) {
			t, err := b.Tensor(name, to.Rows(), to.Cols())
			if err != nil {
				return err
			}
			dev.Write(to, 0, checkpoint.Float32s(t))
		}
	}
	t, err := b.Tensor(lossesName, len(s.losses))
	if err != nil {
		return err
	}
	copy(s.losses[:], checkpoint.Float32s(t))
	return dev.Sync()
}

func (s *store) remove() error { return os.RemoveAll(s.dir) }

// close ends the work here; a run that has kept nothing leaves nothing.
func (s *store) close() {
	if s.done == 0 {
		s.remove()
	}
	s.unlock()
}

// bufferSpec writes a device's buffer as a float32 tensor.
func bufferSpec(dev device.Device, name string, b device.Buffer) checkpoint.TensorSpec {
	return checkpoint.TensorSpec{Name: name, DType: checkpoint.F32, Shape: []int{b.Rows(), b.Cols()}, Write: func(w checkpoint.Writer) error {
		x := make([]float32, b.Rows()*b.Cols())
		dev.Read(x, b, 0, b.Rows())
		if err := dev.Sync(); err != nil {
			return err
		}
		if !finite(x) {
			return fmt.Errorf("%s: not finite after training", name)
		}
		return writeFloats(w, checkpoint.F32, x)
	}}
}

// finite says whether all are numbers.
func finite(x []float32) bool {
	return !slices.ContainsFunc(x, func(v float32) bool { return v-v != 0 })
}

// writeFloats rounds numbers to a type and writes them.
func writeFloats(w checkpoint.Writer, t checkpoint.DType, x []float32) error {
	var buf bytes.Buffer
	size := t.Size()
	for part := range slices.Chunk(x, 1<<16) {
		buf.Reset()
		buf.Grow(len(part) * size)
		line := buf.AvailableBuffer()[:len(part)*size]
		for i, v := range part {
			checkpoint.Encode(line[i*size:], t, v)
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}
