//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"

	"mop/runtime/device"
)

// samplingParams is a row's SamplingParams in device memory; see
// kernels/cuda/sampling_params.cuh.
type samplingParams struct {
	temperature, penalty, topP, minP float32
	topK                             int32
	filters, advance                 uint16
	stream                           uint64
}

// Sizes of the parts of a row in decodeRows, in bytes.
const (
	paramsBytes   = 32
	positionBytes = 8
	rowBytes      = paramsBytes + positionBytes + 4
)

// Temperatures below lowestTemperature are raised to it: there the smallest difference of two
// logits already outweighs any noise. Below lowTemperature the kernel divides the distance
// from the largest logit, because float32 is too coarse for the quotient of the logit itself.
const (
	lowestTemperature = 1e-30
	lowTemperature    = 0.1
)

// packSamplingParams converts sampling parameters for a vocabulary of V tokens.
func packSamplingParams(p device.SamplingParams, stream uint64, V int) samplingParams {
	s := samplingParams{penalty: 1, advance: 1, stream: stream}
	if p.HasPenalty() {
		s.penalty = float32(p.RepetitionPenalty)
	}
	if p.Temperature <= 0 {
		return s
	}
	t := min(max(p.Temperature, lowestTemperature), math.MaxFloat32)
	s.temperature, s.minP = float32(t), float32(p.MinP)
	if p.TopK > 0 && p.TopK < V {
		s.topK = int32(p.TopK)
	}
	if p.TopP > 0 && p.TopP < 1 {
		s.topP = float32(p.TopP)
		if s.topP == 1 { // rounded up
			s.topP = math.Nextafter32(1, 0)
		}
	}
	if t < lowTemperature || s.topK > 0 || s.topP > 0 || s.minP > 0 {
		s.filters = 1
	}
	return s
}

// decodeRows is the state of decode steps. The kernels read it in device memory; changes are
// made on the host and uploaded by the next Launch.
type decodeRows struct {
	d     *Device
	n     int     // rows
	slots int     // number of slots; padding rows use the slot of this number
	V     int     // vocabulary
	words int     // uint32 words of seen for each slot
	state *buffer // params [n], then positions [n], then tokens [n]
	seen  *buffer // [slots+1, words] uint32: a bit for each token that a penalty applies to

	params    []samplingParams
	positions [][2]int32 // slot and position
	tokens    []int32
	changed   []bool           // rows that the next Launch uploads
	bits      map[int][]uint32 // seen tokens to upload, by slot   [words]
}

// NewDecodeRows: see device.GraphDecoder.
func (d *Device) NewDecodeRows(rows, slots, vocabulary int) (device.DecodeRows, error) {
	if rows < 1 || slots < 1 || vocabulary < 1 {
		return nil, fmt.Errorf("cuda: decode rows: want at least 1 row, slot and token, got %d, %d and %d", rows, slots, vocabulary)
	}
	d.begin("decode rows")
	r := &decodeRows{d: d, n: rows, slots: slots, V: vocabulary, words: ceilDiv(vocabulary, 32),
		params: make([]samplingParams, rows), positions: make([][2]int32, rows), tokens: make([]int32, rows), changed: make([]bool, rows), bits: map[int][]uint32{}}
	var err error
	if r.state, err = d.zeroed(1, rows*rowBytes, rows*rowBytes, 1); err != nil {
		return nil, err
	}
	if r.seen, err = d.zeroed(slots+1, r.words, r.words, 4); err != nil {
		r.state.Free()
		return nil, err
	}
	for row := range rows {
		r.Clear(row)
	}
	return r, nil
}

func (r *decodeRows) paramsAt() pointer    { return r.state.p }
func (r *decodeRows) positionsAt() pointer { return r.state.p + pointer(r.n*paramsBytes) }
func (r *decodeRows) tokensAt() pointer {
	return r.state.p + pointer(r.n*(paramsBytes+positionBytes))
}

// Set: see device.DecodeRows.
func (r *decodeRows) Set(row int, s device.DecodeRow) error {
	if row < 0 || row >= r.n || s.Slot < 0 || s.Slot >= r.slots || s.Position < 0 || s.Token < 0 || s.Token >= r.V {
		return fmt.Errorf("cuda: decode rows: want one of %d rows, a slot below %d, a token below %d and a position, got row %d, slot %d, token %d, position %d", r.n, r.slots, r.V, row, s.Slot, s.Token, s.Position)
	}
	if s.Sampling.HasPenalty() && s.Seen != nil {
		bits := make([]uint32, r.words)
		for _, token := range s.Seen {
			if token < 0 || token >= r.V {
				return fmt.Errorf("cuda: decode rows: want seen tokens below %d, got %d", r.V, token)
			}
			bits[token/32] |= 1 << (token % 32)
		}
		r.bits[s.Slot] = bits
	}
	r.params[row], r.positions[row], r.tokens[row], r.changed[row] = packSamplingParams(s.Sampling, s.Stream, r.V), [2]int32{int32(s.Slot), int32(s.Position)}, int32(s.Token), true
	return nil
}

// Clear: see device.DecodeRows.
func (r *decodeRows) Clear(row int) {
	r.params[row], r.positions[row], r.tokens[row], r.changed[row] = samplingParams{penalty: 1}, [2]int32{int32(r.slots), 0}, 0, true
}

// NeedFilters: see device.DecodeRows.
func (r *decodeRows) NeedFilters(n int) bool {
	for _, p := range r.params[:n] {
		if p.filters != 0 {
			return true
		}
	}
	return false
}

// Free: see device.DecodeRows.
func (r *decodeRows) Free() {
	r.state.Free()
	r.seen.Free()
}

// upload uploads the rows that changed since the last step and the seen tokens of their
// sequences. Adjacent rows are uploaded together.
func (r *decodeRows) upload() {
	all := true
	for _, m := range r.changed {
		all = all && m
	}
	if all { // the three parts are contiguous
		r.d.uploadBytes(r.state.p, append(append(append([]byte{}, bytesOf(r.params)...), bytesOf(r.positions)...), bytesOf(r.tokens)...), "decode rows")
	} else {
		for lo := 0; lo < r.n; lo++ {
			hi := lo
			for hi < r.n && r.changed[hi] {
				hi++
			}
			if hi > lo {
				r.d.uploadBytes(r.paramsAt()+pointer(lo*paramsBytes), bytesOf(r.params[lo:hi]), "sampling parameters")
				r.d.uploadBytes(r.positionsAt()+pointer(lo*positionBytes), bytesOf(r.positions[lo:hi]), "slots and positions")
				r.d.uploadBytes(r.tokensAt()+pointer(lo*4), bytesOf(r.tokens[lo:hi]), "tokens")
				lo = hi
			}
		}
	}
	for slot, bits := range r.bits {
		r.d.uploadBytes(r.seen.row(slot), bytesOf(bits), "seen tokens")
	}
	if r.d.err == nil {
		clear(r.changed)
		clear(r.bits)
	}
}
