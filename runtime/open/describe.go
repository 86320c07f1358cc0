package open

import (
	"errors"
	"log/slog"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// Description is the size of a model and the shape of every layer.
type Description struct {
	Params int64               `json:"params"`
	Bytes  int64               `json:"bytes"`
	DType  string              `json:"dtype"`
	Vocab  int                 `json:"vocab"`
	Dim    int                 `json:"d_model"`
	Layers []config.LayerShape `json:"layers"`
}

// Describe describes a model directory or a preset. Where there are no weights it describes
// those that the config asks for.
func Describe(name string) (*Description, error) {
	if !IsPreset(name) {
		src, err := checkpoint.Open(name)
		if err == nil {
			defer src.Close()
			return describeStored(src)
		}
		if !errors.Is(err, checkpoint.ErrNoWeights) {
			return nil, err
		}
		slog.Warn("no weights: the sizes are those that the config asks for", "model", name)
	}
	cfg, err := Config(name)
	if err != nil {
		return nil, err
	}
	return &Description{cfg.Params(), cfg.Params() * int64(StoredType(cfg).Size()), cfg.DType, cfg.VocabSize, cfg.HiddenSize, cfg.Layers}, nil
}

// describeStored takes the size and the type from the tensors. Of several types it names
// the one that most bytes have.
func describeStored(src checkpoint.Source) (*Description, error) {
	cfg := src.Config()
	d := &Description{Params: cfg.Params(), Vocab: cfg.VocabSize, Dim: cfg.HiddenSize, Layers: cfg.Layers}
	bytes := map[checkpoint.DType]int64{}
	for _, info := range checkpoint.ExpectedTensors(cfg) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		bytes[t.DType] += int64(len(t.Data))
		d.Bytes += int64(len(t.Data))
	}
	most := int64(0)
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		if bytes[dt] > most {
			most, d.DType = bytes[dt], dt.ConfigName()
		}
	}
	return d, nil
}
