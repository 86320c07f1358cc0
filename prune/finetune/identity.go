package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"

	"mop/internal/files"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
)

// Settings are the options that the result depends on.
func (o *Options) Settings() map[string]any {
	s := map[string]any{"full": o.Full, "epochs": o.Epochs, "steps": o.Steps, "batch": o.Batch, "max_length": o.MaxLength, "packing": o.Packing,
		"loss_average": o.Average, "rate": o.LearningRate, "warm_up": o.WarmUp, "clip": o.MaxGradNorm, "betas": []float64{o.Beta1, o.Beta2}, "eps": o.Eps, "decay": o.WeightDecay,
		"seed": o.Seed, "shuffle": !o.NoShuffle, "separator": o.Separator}
	if o.Special {
		s["special"] = true
	}
	if o.ChatTemplate != "" {
		s["chat_template"] = o.ChatTemplate
	}
	if o.Rounded {
		s["activations"] = "bfloat16"
	}
	if !o.Full {
		var names []string
		for _, p := range o.Targets {
			names = append(names, p.Short())
		}
		maps.Copy(s, map[string]any{"rank": o.Rank, "alpha": o.Alpha, "dropout": o.Dropout, "targets": names})
	}
	return s
}

// fingerprint is a checksum of everything that the result depends on. data is the
// checksum of the training data. The examples depend on the tokenizer and the chat
// template too.
func fingerprint(src *checkpoint.Dir, o *Options, data string, examples []dataset.Example) (string, error) {
	h := sha256.New()
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return "", err
		}
		// The first and last bytes of every tensor distinguish models of the same shapes.
		fmt.Fprint(h, info.Name, info.Shape, t.DType)
		h.Write(t.Data[:min(len(t.Data), 4096)])
		h.Write(t.Data[max(0, len(t.Data)-4096):])
	}
	text, err := json.Marshal(o.Settings())
	if err != nil {
		return "", err
	}
	h.Write(text)
	for _, e := range examples {
		if err := binary.Write(h, binary.LittleEndian, e.Tokens); err != nil {
			return "", err
		}
		fmt.Fprint(h, e.FirstTarget, e.Unlearned)
	}
	fmt.Fprint(h, data, o.Device.Capabilities().Name) // devices round differently
	if o.AdapterInit != "" {
		for _, name := range []string{adapterFile, adapterConfig} {
			sum, err := files.Sum(filepath.Join(o.AdapterInit, name))
			if err != nil {
				return "", err
			}
			fmt.Fprint(h, sum)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
