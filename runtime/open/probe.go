package open

import (
	"encoding/json"
	"io"

	"mop/internal/build"
)

// ProbeCommand is the hidden command by which one mop binary asks another for its GPUs;
// the other one answers with WriteProbe.
const ProbeCommand = "probe-gpus"

// probeReply is the answer to ProbeCommand, one JSON object.
type probeReply struct {
	Commit string       `json:"commit"` // of the binary that answers
	GPUs   []DeviceInfo `json:"gpus"`
	Error  string       `json:"error,omitempty"` // why there are no GPUs
}

// WriteProbe answers ProbeCommand.
func WriteProbe(w io.Writer) error {
	gpus, err := listGPUs()
	r := probeReply{Commit: build.Commit(), GPUs: gpus}
	if err != nil {
		r.Error = err.Error()
	}
	return json.NewEncoder(w).Encode(r)
}
