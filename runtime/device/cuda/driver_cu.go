//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"gorgonia.org/cu"

	kernels "mop/kernels/cuda"
)

// gpu is a CUDA device by its primary context. Every call locks its goroutine to
// the thread and makes the context current there: no thread of its own, no
// hand-over.
type gpu struct {
	device  cu.Device
	context cu.CUContext
	stream  cu.Stream
	info    Info
	overlap bool // launches may overlap: sm_90, and a driver that captures it

	kernels   map[string]source    // by name
	functions map[string]*function // those compiled, by name

	ring   [2]half
	filled int // the half that is being filled
}

// half of the pinned memory that uploads go through.
type half struct {
	b    []byte
	used int
	free cu.Event // when the copies out of it are done
}

const halfBytes = 32 << 20

// Devices describes the GPUs there are.
func Devices() ([]Info, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	var all []Info
	for i := range n {
		d, err := cu.GetDevice(i)
		if err != nil {
			return nil, fmt.Errorf("cuda: device %d: %w", i, err)
		}
		info, err := describe(d)
		if err != nil {
			return nil, fmt.Errorf("cuda: device %d: %w", i, err)
		}
		all = append(all, info)
	}
	return all, nil
}

func describe(d cu.Device) (i Info, err error) {
	if i.Name, err = d.Name(); err != nil {
		return i, err
	}
	const sharedOptin = 97 // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
	for _, a := range []struct {
		to *int
		at cu.DeviceAttribute
	}{{&i.Major, cu.ComputeCapabilityMajor}, {&i.Minor, cu.ComputeCapabilityMinor}, {&i.SMs, cu.MultiprocessorCount}, {&i.Shared, sharedOptin}} {
		if *a.to, err = d.Attribute(a.at); err != nil {
			return i, err
		}
	}
	i.Driver = cu.Version()
	i.Set = kernelSet(10*i.Major+i.Minor, i.Driver, encodesTensorMaps())
	i.Total, err = d.TotalMem()
	return i, err
}

// Open starts the GPU of an index, with the set of kernels that fits it best.
func Open(index int) (*Device, error) { return OpenSet(index, "") }

// OpenSet starts it with another set of kernels that it runs, to be compared with its
// own, and then has that in its name; "" is its own.
func OpenSet(index int, set string) (*Device, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if index < 0 || index >= n {
		return nil, fmt.Errorf("cuda: want a device below %d, got %d", n, index)
	}
	g := &gpu{kernels: map[string]source{}, functions: map[string]*function{}}
	if err := g.open(index, set); err != nil {
		return nil, fmt.Errorf("cuda: device %d: %w", index, err)
	}
	return newDevice(g), nil
}

func (g *gpu) open(index int, set string) (err error) {
	if g.device, err = cu.GetDevice(index); err != nil {
		return err
	}
	if g.info, err = describe(g.device); err != nil {
		return err
	}
	cc := 10*g.info.Major + g.info.Minor
	if cc < 80 {
		return fmt.Errorf("%s: want compute capability 8.0 or more, got %d.%d", g.info.Name, g.info.Major, g.info.Minor)
	}
	if err := driverFits(g.info.Driver); err != nil {
		return err
	}
	if set != "" && set != g.info.Set {
		if !slices.Contains(setsOf(g.info.Set), set) {
			return fmt.Errorf("%s: want kernels of one of %s, got %s", g.info.Name, strings.Join(setsOf(g.info.Set), ", "), set)
		}
		g.info.Set = set
		g.info.Name += ", kernels of " + set
	}
	// Overlapping launches are captured since CUDA 12.3.
	g.overlap = g.info.Set != setSM80 && g.info.Driver >= 12030
	if err := g.find(); err != nil {
		return err
	}
	if g.context, err = g.device.RetainPrimaryCtx(); err != nil {
		return err
	}
	return g.do(func() error {
		if g.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return err
		}
		for i := range g.ring {
			if g.ring[i].b, err = pinned(halfBytes); err != nil {
				return err
			}
			if g.ring[i].free, err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
		}
		return nil
	})
}

// find lists the set's kernels. The files of sm_90a take the place of the same of sm_90.
func (g *gpu) find() error {
	folders := []string{g.info.Set}
	if g.info.Set == setSM90a {
		folders = []string{setSM90a, setSM90}
	}
	seen := map[string]bool{}
	for _, folder := range folders {
		list, err := fs.Glob(kernels.PTX, "ptx/"+folder+"/*.ptx")
		if err != nil {
			return err
		}
		for _, f := range list {
			if seen[path.Base(f)] {
				continue
			}
			seen[path.Base(f)] = true
			text, err := fs.ReadFile(kernels.PTX, f)
			if err != nil {
				return err
			}
			maps.Copy(g.kernels, sources(path.Base(f), string(text)))
		}
	}
	return nil
}

// do runs f with the context current.
func (g *gpu) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(g.context); err != nil {
		return err
	}
	return f()
}

func (g *gpu) Info() Info { return g.info }

func (g *gpu) Alloc(bytes int64) (p pointer, err error) {
	err = g.do(func() error {
		d, err := cu.MemAlloc(bytes)
		if errors.Is(err, cu.OutOfMemory) {
			return errMemory
		}
		p = pointer(d)
		return err
	})
	return p, err
}

func (g *gpu) Free(p pointer) error {
	return g.do(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (g *gpu) FreeMemory() (n int64, err error) {
	err = g.do(func() error { n, _, err = cu.MemInfo(); return err })
	return n, err
}

func (g *gpu) Clear(p pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	return g.do(func() error { return cu.MemsetD8Async(cu.DevicePtr(p), 0, bytes, g.stream) })
}

// room gives up to n bytes of pinned memory that no copy reads any more.
func (g *gpu) room(n int) ([]byte, error) {
	h := &g.ring[g.filled]
	if h.used > 0 && h.used+min(n, 4096) > len(h.b) {
		if err := h.free.Record(g.stream); err != nil {
			return nil, err
		}
		g.filled = 1 - g.filled
		h = &g.ring[g.filled]
		if err := h.free.Synchronize(); err != nil {
			return nil, err
		}
		h.used = 0
	}
	b := h.b[h.used:min(h.used+n, len(h.b))]
	h.used += roundUp(len(b), 256)
	return b, nil
}

func (g *gpu) Upload(p pointer, pitch int, src []byte, rowBytes int) error {
	if pitch == rowBytes { // bytes as they are, cut anywhere
		pitch, rowBytes = 1, 1
	}
	return g.do(func() error {
		if pitch > halfBytes {
			return fmt.Errorf("upload: want rows of at most %d bytes, got %d", halfBytes, pitch)
		}
		for len(src) > 0 {
			rows := len(src) / rowBytes
			b, err := g.room(rows * pitch)
			if err != nil {
				return err
			}
			if rows = len(b) / pitch; rows == 0 { // less than a row is left: the other half
				g.ring[g.filled].used = len(g.ring[g.filled].b)
				continue
			}
			b = b[:rows*pitch]
			if pitch == rowBytes {
				copy(b, src[:len(b)])
			} else {
				for r := range rows {
					row := b[r*pitch : (r+1)*pitch]
					clear(row[copy(row, src[r*rowBytes:(r+1)*rowBytes]):])
				}
			}
			if err := copyIn(p, b, &g.stream); err != nil {
				return err
			}
			p, src = p+pointer(len(b)), src[rows*rowBytes:]
		}
		return nil
	})
}

func (g *gpu) Download(dst []byte, p pointer) error {
	return g.do(func() error {
		for len(dst) > 0 {
			b, err := g.room(len(dst))
			if err != nil {
				return err
			}
			if err := copyOut(b, p, &g.stream); err != nil {
				return err
			}
			if err := g.stream.Synchronize(); err != nil {
				return err
			}
			dst, p = dst[copy(dst, b):], p+pointer(len(b))
		}
		return nil
	})
}

// function finds a kernel, which the driver compiles at first use.
func (g *gpu) function(kernel string) (*function, error) {
	if f := g.functions[kernel]; f != nil {
		return f, nil
	}
	k, ok := g.kernels[kernel]
	if !ok {
		return nil, fmt.Errorf("no such kernel of the set %s", g.info.Set)
	}
	m, err := loadModule(k.head + k.entry)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.file, err)
	}
	f, err := m.function(kernel)
	if err != nil {
		return nil, err
	}
	if g.overlap && g.info.Set == setSM90a && inStep(kernel) {
		if err := f.shareMost(); err != nil {
			return nil, err
		}
	}
	g.functions[kernel] = f
	return f, nil
}

func (g *gpu) Launch(c call) error { return g.do(func() error { return g.launch(c) }) }

func (g *gpu) Encode(t tensor) (m tensorMap, err error) {
	err = g.do(func() error { m, err = encode(t); return err })
	return m, err
}

func (g *gpu) launch(c call) error {
	f, err := g.function(c.kernel)
	if err != nil {
		return err
	}
	if err := f.allow(c.shared); err != nil {
		return err
	}
	return f.launch(&g.stream, c, g.overlap)
}

// Record makes a graph of launches. Where a driver says that it does not take
// overlapping ones into a graph, they do not overlap, and a note says so.
func (g *gpu) Record(calls []call) (recording, error) {
	r := &gpuRecording{gpu: g}
	err := g.do(func() error {
		for _, c := range calls { // what a capture must not contain: compiling, attributes
			f, err := g.function(c.kernel)
			if err == nil {
				err = f.allow(c.shared)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.kernel, err)
			}
		}
		err := r.capture(calls)
		if errors.Is(err, errUnsupported) && g.overlap {
			slog.Warn("cuda: launches do not overlap in graphs here", "driver", g.info.Driver, "error", err)
			g.overlap = false
			err = r.capture(calls)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *gpuRecording) capture(calls []call) error {
	if err := beginCapture(&r.gpu.stream); err != nil {
		return err
	}
	var failed error
	for _, c := range calls {
		if failed = r.gpu.launch(c); failed != nil {
			failed = fmt.Errorf("%s: %w", c.kernel, failed)
			break
		}
	}
	graph, err := endCapture(&r.gpu.stream) // also of a part: the stream is to capture no longer
	if failed == nil {
		r.graph = graph
		return err
	}
	if err == nil {
		failed = errors.Join(failed, graph.destroy())
	}
	return failed
}

// gpuRecording is an instantiated graph, and pinned slots for what its steps say.
type gpuRecording struct {
	gpu   *gpu
	graph graph
	slots []slot
	next  int
}

type slot struct {
	b     []byte
	ready cu.Event
	n     int
}

// Run queues the recorded launches and a copy of n bytes from p.
func (r *gpuRecording) Run(p pointer, n int) (func(dst []byte) error, error) {
	g := r.gpu
	var s *slot
	err := g.do(func() error {
		const ahead = 4
		if len(r.slots) < ahead {
			b, err := pinned(max(n, 64))
			if err != nil {
				return err
			}
			e, err := cu.MakeEvent(cu.DisableTiming)
			if err != nil {
				return errors.Join(err, unpin(b))
			}
			r.slots = append(r.slots, slot{b: b, ready: e})
		}
		s = &r.slots[r.next%len(r.slots)]
		r.next++
		if err := r.graph.launch(&g.stream); err != nil {
			return err
		}
		if err := copyOut(s.b[:n], p, &g.stream); err != nil {
			return err
		}
		return s.ready.Record(g.stream)
	})
	if err != nil {
		return nil, err
	}
	return func(dst []byte) error {
		return g.do(func() error {
			err := s.ready.Synchronize()
			copy(dst, s.b[:n])
			return err
		})
	}, nil
}

func (r *gpuRecording) Close() error {
	return r.gpu.do(func() error {
		err := errors.Join(r.gpu.stream.Synchronize(), r.graph.destroy())
		for i := range r.slots {
			err = errors.Join(err, unpin(r.slots[i].b), cu.DestroyEvent(&r.slots[i].ready))
		}
		return err
	})
}

func (g *gpu) Sync() error { return g.do(func() error { return g.stream.Synchronize() }) }

// Close releases the primary context, and with it all memory of it that is left.
func (g *gpu) Close() error {
	err := g.do(func() error {
		err := g.stream.Synchronize()
		for i := range g.ring {
			err = errors.Join(err, unpin(g.ring[i].b), cu.DestroyEvent(&g.ring[i].free))
		}
		return errors.Join(err, g.stream.Destroy())
	})
	return errors.Join(err, g.device.ReleasePrimaryCtx())
}
