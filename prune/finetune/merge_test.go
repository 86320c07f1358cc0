package finetune

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/train"
)

// failingDevice simulates a failed kernel. Once armed, its reads return zeros, and only the
// next Sync reports the failure.
type failingDevice struct {
	device.Trainer
	armed  bool
	failed error
}

var errKernel = errors.New("a kernel has failed")

func (d *failingDevice) Read(dst []float32, b device.Buffer, row, n int) {
	if d.armed {
		clear(dst)
		d.failed = errKernel
		return
	}
	d.Trainer.Read(dst, b, row, n)
}

func (d *failingDevice) Sync() error { return errors.Join(d.failed, d.Trainer.Sync()) }

// Nothing that is read from a device is written before a Sync without error: merged
// weights, trained weights, adapters and states.
func TestFailureAtSync(t *testing.T) {
	for _, full := range []bool{false, true} {
		o := fixture(t, 1)
		dev := &failingDevice{Trainer: o.Device.(device.Trainer)}
		src, err := checkpoint.Open(o.Model)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		m, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		l, err := train.New(m, src, train.Options{Full: full, Rank: o.Rank, Alpha: o.Alpha, Targets: o.Targets})
		if err != nil {
			t.Fatal(err)
		}
		specs, err := mergedTensors(src, dev, l)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l.Params {
			specs = append(specs, bufferSpec(dev, p.Name, p.Value))
		}
		// The parameters, and the tensors that they are merged into: one for two matrices of an
		// adapter, or one for each trained tensor.
		want, got := len(l.Params)+len(l.Params)/2, 0
		if full {
			want = 2 * len(l.Params)
		}
		dev.armed = true
		for _, s := range specs {
			var out bytes.Buffer
			dev.failed = nil
			err := s.Write(&out)
			if dev.failed == nil {
				continue // copied from the file
			}
			if got++; !errors.Is(err, errKernel) || out.Len() > 0 {
				t.Errorf("full %v: %s: want %v and nothing written, got %v after %d bytes", full, s.Name, errKernel, err, out.Len())
			}
		}
		if got != want {
			t.Errorf("full %v: want %d tensors read from the device, got %d", full, want, got)
		}

		o = fixture(t, 1)
		dev = &failingDevice{Trainer: o.Device.(device.Trainer)}
		o.Device, o.Full, o.Steps = dev, full, 1
		o.Progress = func(progress.Update) { dev.armed = true }
		if _, err := Run(context.Background(), o); !errors.Is(err, errKernel) || exists(o.Out) {
			t.Errorf("full %v: want %v and no model, got %v, a model: %v", full, errKernel, err, exists(o.Out))
		}
	}
}

// If training changes nothing, the merged model equals the base. Full training writes the
// types of the checkpoint.
func TestMerge(t *testing.T) {
	o := fixture(t, 2)
	o.Steps, o.LearningRate = 1, 1e-30
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	base, err := checkpoint.Open(o.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	equal := func(dir string) (same, all int) {
		m, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for _, info := range checkpoint.ExpectedTensors(base.Config()) {
			a, _ := base.Tensor(info.Name)
			b, _ := m.Tensor(info.Name)
			if all++; bytes.Equal(a.Data, b.Data) && a.DType == b.DType {
				same++
			}
		}
		return same, all
	}
	if same, all := equal(o.Out); same != all {
		t.Errorf("an adapter of nothing changes %d of %d tensors", all-same, all)
	}
	o = fixture(t, 2)
	o.Full, o.Steps = true, 3
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if same, _ := equal(o.Out); same != 0 {
		t.Errorf("full training left %d tensors as they were", same)
	}
}
