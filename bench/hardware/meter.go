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
)

// Meter measures the read bandwidth, and remembers it for a while.
type Meter struct {
	Dir    string        // where measurements are kept; "" = nowhere
	MaxAge time.Duration // older ones are measured again; 0 = a week
	Now    func() time.Time
	Read   func(Machine, int) (Bandwidth, error) // the measurement; nil = ReadBandwidth
}

// DefaultMeter keeps measurements in the user's cache directory for a week, or
// nowhere if the system names no such directory.
func DefaultMeter() Meter {
	dir, err := os.UserCacheDir()
	if err != nil {
		return Meter{}
	}
	return Meter{Dir: filepath.Join(dir, "mop")}
}

// Measure returns the bandwidth of this machine with that many threads: a
// remembered one if it is young enough and force is false. A memory that cannot
// be read or written costs a measurement, and is no error.
func (m Meter) Measure(machine Machine, threads int, force bool) (Bandwidth, error) {
	now, read := m.Now, m.Read
	if now == nil {
		now = time.Now
	}
	if read == nil {
		read = ReadBandwidth
	}
	file := m.file(machine, threads)
	if !force {
		if b, ok := m.remembered(file, machine, threads, now()); ok {
			return b, nil
		}
	}
	b, err := read(machine, threads)
	if err != nil || file == "" {
		return b, err
	}
	b.Measured = now().UTC()
	if text, err := json.MarshalIndent(b, "", "  "); err == nil && os.MkdirAll(m.Dir, 0o755) == nil {
		_ = renameio.WriteFile(file, append(text, '\n'), 0o644)
	}
	return b, nil
}

// file is named by what the measurement depends on; the name of a processor may
// hold anything, so it goes in as a hash.
func (m Meter) file(machine Machine, threads int) string {
	if m.Dir == "" {
		return ""
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", machine.CPU, machine.Cores, threads))
	return filepath.Join(m.Dir, "read-bandwidth-"+hex.EncodeToString(key[:8])+".json")
}

func (m Meter) remembered(file string, machine Machine, threads int, now time.Time) (b Bandwidth, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(text, &b) != nil {
		return Bandwidth{}, false
	}
	maxAge := m.MaxAge
	if maxAge == 0 {
		maxAge = 7 * 24 * time.Hour
	}
	age := now.Sub(b.Measured)
	return b, b.CPU == machine.CPU && b.Threads == threads && b.GBps > 0 && age >= 0 && age <= maxAge
}
