//go:build cuda

package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"gorgonia.org/cu"

	kernels "mop/kernels/cuda"
)

// GPU is a CUDA device, used through its primary context. Every call locks its goroutine
// to the thread and makes the context current there, so that no other thread is involved.
type GPU struct {
	// Overlap says that kernels may start before the one before them has ended. It needs
	// compute capability 9.0 and a driver that supports it in graphs.
	Overlap bool

	device  cu.Device
	context cu.CUContext
	stream  cu.Stream
	info    Info

	kernels   map[string]Source    // by name
	functions map[string]*function // those that the driver has compiled, by name

	capturing bool    // the stream is being captured
	timing    *timing // of launches; nil = they are not timed

	staging [2]stagingBuffer // uploads go through them in turn
	current int              // the one that is being filled
}

// stagingBuffer is pinned memory for copies to and from the device.
type stagingBuffer struct {
	b    []byte
	used int
	done cu.Event // the copies out of it are done
}

const stagingBytes = 32 << 20

// Devices describes the GPUs of the machine.
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
	}{{&i.Major, cu.ComputeCapabilityMajor}, {&i.Minor, cu.ComputeCapabilityMinor}, {&i.SMs, cu.MultiprocessorCount}, {&i.Shared, sharedOptin}, {&i.ClockKHz, cu.ClockRate}} {
		if *a.to, err = d.Attribute(a.at); err != nil {
			return i, err
		}
	}
	i.Driver = cu.Version()
	i.Set = KernelSet(10*i.Major+i.Minor, i.Driver, encodesTensorMaps())
	i.Total, err = d.TotalMem()
	return i, err
}

// Open starts the GPU of an index with a set of kernels; "" is the set that fits it best.
// Another set that the GPU can run is noted in its name.
func Open(index int, set string) (*GPU, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if index < 0 || index >= n {
		return nil, fmt.Errorf("cuda: want a device below %d, got %d", n, index)
	}
	g := &GPU{kernels: map[string]Source{}, functions: map[string]*function{}}
	if err := g.open(index, set); err != nil {
		return nil, fmt.Errorf("cuda: device %d: %w", index, err)
	}
	return g, nil
}

func (g *GPU) open(index int, set string) (err error) {
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
	if err := checkVersion(g.info.Driver); err != nil {
		return err
	}
	if set != "" && set != g.info.Set {
		if !slices.Contains(SetsOf(g.info.Set), set) {
			return fmt.Errorf("%s: want kernels of one of %s, got %s", g.info.Name, strings.Join(SetsOf(g.info.Set), ", "), set)
		}
		g.info.Set = set
		g.info.Name += ", kernels of " + set
	}
	// Overlapping launches are captured since CUDA 12.3.
	g.Overlap = g.info.Set != SM80 && g.info.Driver >= 12030
	if err := g.findKernels(); err != nil {
		return err
	}
	if g.context, err = g.device.RetainPrimaryCtx(); err != nil {
		return err
	}
	return g.do(func() error {
		if g.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return err
		}
		for i := range g.staging {
			if g.staging[i].b, err = pinned(stagingBytes); err != nil {
				return err
			}
			if g.staging[i].done, err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
		}
		return nil
	})
}

// findKernels lists the kernels of the set. Files of sm_90a replace those of sm_90 with
// the same name.
func (g *GPU) findKernels() error {
	folders := []string{g.info.Set}
	if g.info.Set == SM90a {
		folders = []string{SM90a, SM90}
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
			maps.Copy(g.kernels, Sources(path.Base(f), string(text)))
		}
	}
	return nil
}

// do runs f with the context current.
func (g *GPU) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(g.context); err != nil {
		return err
	}
	return f()
}

func (g *GPU) Info() Info { return g.info }

func (g *GPU) Alloc(bytes int64) (p Pointer, err error) {
	err = g.do(func() error {
		d, err := cu.MemAlloc(bytes)
		if errors.Is(err, cu.OutOfMemory) {
			return ErrMemory
		}
		p = Pointer(d)
		return err
	})
	return p, err
}

func (g *GPU) Free(p Pointer) error {
	return g.do(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (g *GPU) FreeMemory() (n int64, err error) {
	err = g.do(func() error { n, _, err = cu.MemInfo(); return err })
	return n, err
}

func (g *GPU) Clear(p Pointer, bytes int64) error {
	return g.do(func() error { return g.clear(p, bytes) })
}

// clear is Clear with the context current.
func (g *GPU) clear(p Pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	return cu.MemsetD8Async(cu.DevicePtr(p), 0, bytes, g.stream)
}

// pinnedMemory returns up to n bytes of pinned memory that no copy reads any more.
func (g *GPU) pinnedMemory(n int) ([]byte, error) {
	h := &g.staging[g.current]
	if h.used > 0 && h.used+min(n, 4096) > len(h.b) {
		if err := h.done.Record(g.stream); err != nil {
			return nil, err
		}
		g.current = 1 - g.current
		h = &g.staging[g.current]
		if err := h.done.Synchronize(); err != nil {
			return nil, err
		}
		h.used = 0
	}
	b := h.b[h.used:min(h.used+n, len(h.b))]
	h.used += (len(b) + 255) / 256 * 256
	return b, nil
}

func (g *GPU) Upload(p Pointer, pitch int, src []byte, rowBytes int) error {
	if pitch == rowBytes { // bytes as they are, cut anywhere
		pitch, rowBytes = 1, 1
	}
	return g.do(func() error {
		if pitch > stagingBytes {
			return fmt.Errorf("upload: want rows of at most %d bytes, got %d", stagingBytes, pitch)
		}
		for len(src) > 0 {
			rows := len(src) / rowBytes
			b, err := g.pinnedMemory(rows * pitch)
			if err != nil {
				return err
			}
			if rows = len(b) / pitch; rows == 0 { // less than a row is left: take the other buffer
				g.staging[g.current].used = len(g.staging[g.current].b)
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
			p, src = p+Pointer(len(b)), src[rows*rowBytes:]
		}
		return nil
	})
}

func (g *GPU) Download(dst []byte, p Pointer) error {
	return g.do(func() error {
		for len(dst) > 0 {
			b, err := g.pinnedMemory(len(dst))
			if err != nil {
				return err
			}
			if err := copyOut(b, p, &g.stream); err != nil {
				return err
			}
			if err := g.stream.Synchronize(); err != nil {
				return err
			}
			dst, p = dst[copy(dst, b):], p+Pointer(len(b))
		}
		return nil
	})
}

func (g *GPU) Copy(dst, src Pointer, bytes int64) error {
	return g.do(func() error { return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, g.stream) })
}

// function finds a kernel, which the driver compiles at first use.
func (g *GPU) function(kernel string) (*function, error) {
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
	if g.Overlap && g.info.Set == SM90a && decodeStep[kernel] {
		if err := f.shareMost(); err != nil {
			return nil, err
		}
	}
	g.functions[kernel] = f
	return f, nil
}

func (g *GPU) Launch(c Call) error { return g.do(func() error { return g.launch(c) }) }

// ResidentClusters: see ClusterCounter.
func (g *GPU) ResidentClusters(c Call) (n int, err error) {
	err = g.do(func() error {
		f, err := g.function(c.Kernel)
		if err == nil {
			err = f.allow(c.Shared)
		}
		if err == nil {
			n, err = f.residentClusters(c)
		}
		return err
	})
	return n, err
}

func (g *GPU) Encode(t Tensor) (m TensorMap, err error) {
	err = g.do(func() error { m, err = encode(t); return err })
	return m, err
}

func (g *GPU) launch(c Call) error {
	f, err := g.function(c.Kernel)
	if err != nil {
		return err
	}
	if err := f.allow(c.Shared); err != nil {
		return err
	}
	if g.timing != nil && !g.capturing {
		return g.timing.time(&g.stream, func() error { return f.launch(&g.stream, c, g.Overlap) })
	}
	return f.launch(&g.stream, c, g.Overlap)
}

func (g *GPU) Sync() error { return g.do(func() error { return g.stream.Synchronize() }) }

// Close releases the primary context, and with it all memory of it that is left.
func (g *GPU) Close() error {
	err := g.do(func() error {
		err := g.stream.Synchronize()
		for i := range g.staging {
			err = errors.Join(err, unpin(g.staging[i].b), cu.DestroyEvent(&g.staging[i].done))
		}
		return errors.Join(err, g.stream.Destroy())
	})
	return errors.Join(err, g.device.ReleasePrimaryCtx())
}
