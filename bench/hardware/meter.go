package hardware

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"mop/internal/machine"
)

// Roofline holds the measured read bandwidth and FMA peak of a machine for a number of threads.
// Together they bound the speed of a kernel, as the roofline model says.
type Roofline struct {
	Machine  machine.Info `json:"machine"`
	Read     Bandwidth    `json:"read"`
	FMA      Peak         `json:"fma"`
	Others   float64      `json:"others"` // share of all cores that others took meanwhile; 0 if the system does not say
	Measured time.Time    `json:"measured"`
}

// MeasureRoofline measures both in about a second: reading with the widest instruction
// set, and arithmetic with the one that is asked for ("" = the widest).
func MeasureRoofline(m machine.Info, threads int, isa string) (Roofline, error) {
	l := Roofline{Machine: m, Measured: time.Now().UTC()}
	others, steal, known := OtherLoad()
	var err error
	if l.Read, err = ReadBandwidth(m, threads, ""); err != nil {
		return Roofline{}, err
	}
	l.FMA, err = FMAPeak(threads, isa)
	if othersAfter, stealAfter, ok := OtherLoad(); ok && known && m.Cores > 0 {
		l.Others = min(max(0, float64(othersAfter-others+stealAfter-steal)/float64(time.Since(l.Measured))/float64(m.Cores)), 1)
	}
	return l, err
}

// busy is the share of the cores above which the load of others makes a roofline not
// worth caching.
const busy = 0.05

// Meter measures rooflines and caches them in a file for some minutes.
type Meter struct {
	Dir      string        // where measurements are kept; "" = nowhere
	MaxAge   time.Duration // older ones are measured again; 0 = ten minutes
	Now      func() time.Time
	Roofline func(m machine.Info, threads int, isa string) (Roofline, error) // the measurement; nil = MeasureRoofline
}

// DefaultMeter keeps measurements in the user's cache directory for ten minutes,
// or nowhere if the system names no such directory. They are not kept longer because
// shared machines change: one read 50 GB/s and, a quarter of an hour later, 77.
func DefaultMeter() Meter {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Meter{}
	}
	return Meter{Dir: filepath.Join(dir, "mop")}
}

// Measure returns the roofline of this machine for a number of threads and an instruction
// set: a cached one if it is recent enough and force is false. The roofline of a busy
// machine is not cached. A cache file that cannot be read or written costs a new measurement and
// is not an error.
func (m Meter) Measure(info machine.Info, threads int, isa string, force bool) (Roofline, error) {
	now, measure := m.Now, m.Roofline
	if now == nil {
		now = time.Now
	}
	if measure == nil {
		measure = MeasureRoofline
	}
	file := m.file(info, threads, isa)
	if !force {
		if l, ok := m.cached(file, info, threads, now()); ok {
			return l, nil
		}
	}
	l, err := measure(info, threads, isa)
	if err != nil || file == "" || l.Others > busy {
		return l, err
	}
	l.Measured = now().UTC()
	if text, err := json.MarshalIndent(l, "", "  "); err == nil && os.MkdirAll(m.Dir, 0o755) == nil {
		_ = renameio.WriteFile(file, append(text, '\n'), 0o644)
	}
	return l, nil
}

// file is named after everything that the measurement depends on, as a hash, since the
// name of a processor may contain any character.
func (m Meter) file(info machine.Info, threads int, isa string) string {
	if m.Dir == "" {
		return ""
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%+v\x00%d\x00%s", info, threads, isa))
	return filepath.Join(m.Dir, "limits-"+hex.EncodeToString(key[:8])+".json")
}

func (m Meter) cached(file string, info machine.Info, threads int, now time.Time) (l Roofline, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &l) != nil {
		return Roofline{}, false
	}
	maxAge := m.MaxAge
	if maxAge == 0 {
		maxAge = 10 * time.Minute
	}
	age := now.Sub(l.Measured)
	return l, l.Machine == info && l.Read.Threads == threads && l.Read.GBps > 0 && l.FMA.Threads == threads && l.FMA.GFLOPs > 0 &&
		age >= 0 && age <= maxAge
}
