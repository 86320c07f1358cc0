package model_test

import (
	"errors"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// graphDevice is a device that decodes by graphs and has no memory left for a buffer of
// failCols columns. live holds the buffers and decode rows that are not freed. It only
// allocates: its operations must not be called.
type graphDevice struct {
	device.Device
	failCols int
	live     map[any]bool
}

// trackedBuffer is a buffer of a graphDevice.
type trackedBuffer struct {
	device.Buffer
	dev *graphDevice
}

func (b *trackedBuffer) Free() {
	delete(b.dev.live, b)
	b.Buffer.Free()
}

func (d *graphDevice) track(b device.Buffer) device.Buffer {
	t := &trackedBuffer{b, d}
	d.live[t] = true
	return t
}

func (d *graphDevice) Buffer(rows, cols int) (device.Buffer, error) {
	if cols == d.failCols {
		return nil, device.ErrMemory
	}
	b, err := d.Device.Buffer(rows, cols)
	if err != nil {
		return nil, err
	}
	return d.track(b), nil
}

func (d *graphDevice) Activations(rows int, widths []int) ([]device.Buffer, error) {
	list, err := d.Device.Activations(rows, widths)
	for i, b := range list {
		list[i] = d.track(b)
	}
	return list, err
}

// trackedRows is the decode state of a graphDevice.
type trackedRows struct {
	device.DecodeRows
	dev *graphDevice
}

func (r *trackedRows) Free() { delete(r.dev.live, r) }

func (d *graphDevice) NewDecodeRows(rows, slots, vocabulary int) (device.DecodeRows, error) {
	r := &trackedRows{dev: d}
	d.live[r] = true
	return r, nil
}

func (d *graphDevice) Capture(device.DecodeRows, int, int, func()) (device.DecodeGraph, error) {
	return nil, errors.New("not implemented")
}

func (d *graphDevice) Sample(device.LMHead, int, bool) {}

// A graph decoder for whose activations there is no memory leaves nothing allocated, and
// it can be made once there is memory again.
func TestGraphDecoderAfterMemoryIsExhausted(t *testing.T) {
	c := oddShapes()
	for _, cols := range []int{c.HiddenSize, c.VocabSize} {
		host, err := cpu.New(1)
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		dev := &graphDevice{Device: host, live: map[any]bool{}}
		m, err := model.Load(dev, checkpoint.Random(c, 3, checkpoint.F32))
		if err != nil {
			t.Fatal(err)
		}
		cache, err := kvcache.NewSequences(dev, c, 2, 8)
		if err != nil {
			t.Fatal(err)
		}
		before := len(dev.live)
		dev.failCols = cols
		if _, err := m.GraphDecoder(cache); !errors.Is(err, device.ErrMemory) {
			t.Errorf("buffer of %d columns: want ErrMemory, got %v", cols, err)
		}
		if n := len(dev.live) - before; n != 0 {
			t.Errorf("buffer of %d columns: the failure left %d allocations", cols, n)
		}
		dev.failCols = 0
		decoder, err := m.GraphDecoder(cache)
		if err != nil {
			t.Fatal(err)
		}
		if err := decoder.Close(); err != nil {
			t.Error(err)
		}
		if n := len(dev.live) - before; n != 0 {
			t.Errorf("buffer of %d columns: a closed decoder left %d allocations", cols, n)
		}
	}
}
