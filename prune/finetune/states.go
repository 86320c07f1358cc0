package finetune

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// stateStore is the directory OUT.training, from which a run resumes. run.json holds the
// identity of the run, and state-N.safetensors holds parameters and moments after N
// steps. A state is written under another name and renamed, and the state before it is
// deleted after that.
type stateStore struct {
	dir  string
	done int // steps of the newest state
	// passTokens is Options.PassTokens of the run from its first step on; 0 = one example
	// in a pass.
	passTokens int
	unlock     func()
	losses     losses
}

// statesSuffix is what the directory's name has after OUT.
const statesSuffix = ".training"

// losses are stored in a state, in nats.
type losses struct {
	firstStep, lastStep float32
	beforeTraining      float32 // of the first pass
}

// lossesName is the tensor of a state that holds the losses, float32 [3].
const lossesName = "losses"

// sumName is the tensor of a state that holds the sha256 of the data of all others, in the
// order of the file.
const sumName = "sha256"

// identityFile holds the identity of the run.
const identityFile = "run.json"

type storedIdentity struct {
	Run   string            `json:"run"`   // checksum of the identity
	Parts map[string]string `json:"parts"` // the identity

	PassTokens int `json:"pass_tokens,omitempty"`
}

// openStateStore creates the directory of a run, or opens it with resume if it is of the
// same run, whose passTokens then stay. Only one process can have it open.
func openStateStore(out string, id map[string]string, passTokens int, resume bool) (*stateStore, error) {
	s := &stateStore{dir: filepath.Clean(out) + statesSuffix, passTokens: passTokens}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, err
	}
	var err error
	if s.unlock, err = checkpoint.Lock(s.dir); errors.Is(err, checkpoint.ErrBusy) {
		return nil, fmt.Errorf("%s: another run is using it", s.dir)
	} else if err != nil {
		return nil, err
	}
	if err := s.open(id, resume); err != nil {
		os.Remove(s.dir) // only if it is empty
		s.unlock()
		return nil, err
	}
	return s, nil
}

// open finds the newest state. If there is none, it writes the identity of the run;
// otherwise it compares the identity.
func (s *stateStore) open(id map[string]string, resume bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var states []int
	for _, e := range entries {
		if n, ok := stateSteps(e.Name()); ok {
			states = append(states, n)
		} else if e.Name() != identityFile && !strings.HasPrefix(e.Name(), ".") { // hidden files are left by a kill
			return fmt.Errorf("%s: %s in it was not written by a fine-tuning run: give another --out", s.dir, e.Name())
		}
	}
	path := filepath.Join(s.dir, identityFile)
	if len(states) == 0 {
		text, err := json.Marshal(storedIdentity{fingerprint(id), id, s.passTokens})
		if err != nil {
			return err
		}
		return renameio.WriteFile(path, append(text, '\n'), 0o666)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !resume {
		return fmt.Errorf("%s: a run was started here: give --resume to continue it, or another --out", s.dir)
	}
	var stored storedIdentity
	if json.Unmarshal(text, &stored) != nil || stored.Run != fingerprint(id) {
		return fmt.Errorf("%s: of another run: %s: give another --out", path, difference(stored.Parts, id))
	}
	s.done, s.passTokens = slices.Max(states), stored.PassTokens
	for _, n := range states {
		if n != s.done { // left by a kill between writing and deleting
			if err := os.Remove(filepath.Join(s.dir, stateName(n))); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateSteps returns the number of steps in the name of a state.
func stateSteps(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(name, ".safetensors"), "state-"))
	return n, err == nil && name == stateName(n)
}

func stateName(steps int) string { return fmt.Sprintf("state-%d.safetensors", steps) }

// stateTensors returns the tensors of a parameter in a state: its value and its moments.
func stateTensors(p *train.Param) map[string]device.Buffer {
	m, v := p.Moments()
	return map[string]device.Buffer{p.Name: p.Value, p.Name + ".m": m, p.Name + ".v": v}
}

// save writes the state after some steps.
func (s *stateStore) save(dev device.Device, params []*train.Param, steps int) error {
	f, err := renameio.NewPendingFile(filepath.Join(s.dir, stateName(steps)), renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	var specs []checkpoint.TensorSpec
	for _, p := range params {
		for _, suffix := range []string{"", ".m", ".v"} {
			specs = append(specs, bufferSpec(dev, p.Name+suffix, stateTensors(p)[p.Name+suffix]))
		}
	}
	specs = append(specs, checkpoint.TensorSpec{Name: lossesName, DType: checkpoint.F32, Shape: []int{3}, Write: func(w checkpoint.Writer) error {
		return writeFloats(w, checkpoint.F32, []float32{s.losses.firstStep, s.losses.lastStep, s.losses.beforeTraining})
	}})
	h := sha256.New()
	for i, spec := range specs {
		specs[i].Write = func(w checkpoint.Writer) error { return spec.Write(io.MultiWriter(w, h)) }
	}
	specs = append(specs, checkpoint.TensorSpec{Name: sumName, DType: checkpoint.F32, Shape: []int{sha256.Size / 4}, Write: func(w checkpoint.Writer) error {
		_, err := w.Write(h.Sum(nil))
		return err
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

// load reads the newest state.
func (s *stateStore) load(dev device.Trainer, params []*train.Param) error {
	b, err := checkpoint.OpenTensorFile(filepath.Join(s.dir, stateName(s.done)))
	if err != nil {
		return err
	}
	defer b.Close()
	if err := checkState(b, params); err != nil {
		return fmt.Errorf("%s: %w: remove the directory and begin again, or give another --out", filepath.Join(s.dir, stateName(s.done)), err)
	}
	for _, p := range params {
		for name, to := range stateTensors(p) {
			t, err := b.Tensor(name, to.Rows(), to.Cols())
			if err != nil {
				return err
			}
			dev.Write(to, 0, checkpoint.Float32s(t))
		}
	}
	t, err := b.Tensor(lossesName, 3)
	if err != nil {
		return err
	}
	x := checkpoint.Float32s(t)
	s.losses = losses{firstStep: x[0], lastStep: x[1], beforeTraining: x[2]}
	return dev.Sync()
}

// checkState compares the tensors of a state with their checksum.
func checkState(b *checkpoint.TensorFile, params []*train.Param) error {
	sum, err := b.Tensor(sumName, sha256.Size/4)
	if err != nil {
		return errors.New("the state has no checksum")
	}
	h := sha256.New()
	for _, p := range params {
		for _, suffix := range []string{"", ".m", ".v"} {
			h.Write(b.Header(p.Name + suffix).Data)
		}
	}
	h.Write(b.Header(lossesName).Data)
	if !bytes.Equal(h.Sum(nil), sum.Data) {
		return errors.New("the state is damaged: its checksum does not match")
	}
	return nil
}

// remove deletes the directory.
func (s *stateStore) remove() error { return os.RemoveAll(s.dir) }

// close unlocks the directory, and deletes it if it has no state.
func (s *stateStore) close() {
	if s.done == 0 {
		s.remove()
	}
	s.unlock()
}

// bufferSpec is a device's buffer as a float32 tensor.
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

// finite reports whether all numbers are finite.
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
