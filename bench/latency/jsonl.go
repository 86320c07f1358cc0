package latency

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// WriteSamples writes raw samples as JSON lines, one a run; times are integer
// nanoseconds.
func WriteSamples(w io.Writer, samples []Sample) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, s := range samples {
		if err := e.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// ReadSamples reads what WriteSamples wrote.
func ReadSamples(r io.Reader) ([]Sample, error) {
	d := json.NewDecoder(bufio.NewReader(r))
	var samples []Sample
	for {
		var s Sample
		switch err := d.Decode(&s); err {
		case nil:
			samples = append(samples, s)
		case io.EOF:
			return samples, nil
		default:
			return samples, fmt.Errorf("sample %d: %w", len(samples)+1, err)
		}
	}
}
