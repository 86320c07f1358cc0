package finetune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2"

	"mop/internal/files"
	"mop/runtime/checkpoint"
)

// The files of an adapter directory in the layout of PEFT.
const (
	adapterConfig    = "adapter_config.json"
	maxAdapterConfig = 16 << 20
	adapterFile      = "adapter_model.safetensors"
)

// peftConfig is the content of adapter_config.json that is written.
type peftConfig struct {
	Type         string         `json:"peft_type"`
	Task         string         `json:"task_type"`
	Base         string         `json:"base_model_name_or_path"`
	Rank         int            `json:"r"`
	Alpha        float64        `json:"lora_alpha"`
	Dropout      float64        `json:"lora_dropout"`
	Targets      any            `json:"target_modules"` // names, or a regular expression
	Bias         string         `json:"bias"`
	FanInOut     bool           `json:"fan_in_fan_out"`
	Inference    bool           `json:"inference_mode"`
	RankPattern  map[string]int `json:"rank_pattern,omitempty"`
	AlphaPattern map[string]any `json:"alpha_pattern,omitempty"`
}

// peftAdapter is an adapter_config.json that training starts from.
type peftAdapter struct {
	rank, alpha       float64
	rankStabilized    bool // the scale is alpha/sqrt(rank) instead of alpha/rank
	targets, excluded matcher
	layers            []int // nil = all
	ranks, alphas     []pattern
}

// pattern is an entry of rank_pattern or alpha_pattern.
type pattern struct {
	name  *regexp2.Regexp
	value float64
}

// matcher says which modules target_modules or exclude_modules name: names that a module's
// name ends with, or a regular expression for all of it.
type matcher struct {
	names      []string
	expression *regexp2.Regexp
}

func (m matcher) matches(module string) bool {
	if m.expression != nil {
		ok, err := m.expression.MatchString(module)
		return ok && err == nil
	}
	return slices.ContainsFunc(m.names, func(name string) bool { return module == name || strings.HasSuffix(module, "."+name) })
}

// plainKeys are keys that change nothing here, or that readAdapterConfig reads.
var plainKeys = []string{"peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_version", "r", "lora_alpha", "lora_dropout",
	"target_modules", "exclude_modules", "bias", "fan_in_fan_out", "init_lora_weights", "use_rslora", "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern",
	"megatron_core", "qalora_group_size", "runtime_config", "eva_config"}

// plainInitial are the values of init_lora_weights that leave the base model's weights as
// they are. PiSSA, OLoRA, CorDA and LoftQ change them.
var plainInitial = []string{"true", "false", `"gaussian"`, `"eva"`, `"orthogonal"`, "null"}

// readAdapterConfig reads the adapter_config.json of a LoRA adapter. Options that are not
// applied are refused by their names, and so are keys that are not known.
func readAdapterConfig(dir string) (*peftAdapter, error) {
	path := filepath.Join(dir, adapterConfig)
	text, err := files.ReadText(path, maxAdapterConfig)
	if err != nil {
		return nil, err
	}
	a, err := parseAdapterConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func parseAdapterConfig(text []byte) (*peftAdapter, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil || keys == nil {
		return nil, errors.New("want a JSON object")
	}
	if t := compact(keys["peft_type"]); t != `"LORA"` {
		return nil, fmt.Errorf("peft_type: want LORA, got %s", t)
	}
	if initial := compact(keys["init_lora_weights"]); initial != "" && !slices.Contains(plainInitial, initial) {
		return nil, fmt.Errorf("init_lora_weights %s is not supported: it changes the base model's weights; convert the adapter to plain LoRA, as PEFT does with path_initial_model_for_weight_conversion", initial)
	}
	if b := compact(keys["bias"]); b != "" && b != `"none"` {
		return nil, fmt.Errorf("bias %s is not supported", b)
	}
	if compact(keys["fan_in_fan_out"]) == "true" {
		return nil, errors.New("fan_in_fan_out is not supported")
	}
	for _, key := range sortedKeys(keys) {
		if !slices.Contains(plainKeys, key) && !isOff(keys[key]) {
			return nil, fmt.Errorf("%s is not supported", clip(key))
		}
	}
	a := &peftAdapter{rank: 8, alpha: 8} // PEFT's defaults
	for _, f := range []struct {
		name string
		to   any
		want string
	}{{"r", &a.rank, "a number"}, {"lora_alpha", &a.alpha, "a number"}, {"use_rslora", &a.rankStabilized, "true or false"}} {
		if v := keys[f.name]; v != nil && compact(v) != "null" && json.Unmarshal(v, f.to) != nil {
			return nil, fmt.Errorf("%s: want %s, got %s", f.name, f.want, clip(compact(v)))
		}
	}
	if !(a.rank >= 1 && a.rank <= maxRank) || a.rank != math.Trunc(a.rank) {
		return nil, fmt.Errorf("rank: want 1 to %d, got %v", maxRank, a.rank)
	}
	var err error
	if a.targets, err = parseMatcher(keys["target_modules"]); err != nil {
		return nil, fmt.Errorf("target_modules: %w", err)
	}
	if v := keys["exclude_modules"]; !isOff(v) {
		if a.excluded, err = parseMatcher(v); err != nil {
			return nil, fmt.Errorf("exclude_modules: %w", err)
		}
	}
	if v := compact(keys["layers_pattern"]); !isOff(keys["layers_pattern"]) && v != `"layers"` && v != `["layers"]` {
		return nil, fmt.Errorf("layers_pattern %s is not supported", clip(v))
	}
	if v := keys["layers_to_transform"]; !isOff(v) {
		one := 0
		if json.Unmarshal(v, &one) == nil {
			a.layers = []int{one}
		} else if json.Unmarshal(v, &a.layers) != nil {
			return nil, fmt.Errorf("layers_to_transform: want numbers of layers, got %s", clip(compact(v)))
		}
	}
	if a.ranks, err = parsePatterns(keys["rank_pattern"]); err != nil {
		return nil, fmt.Errorf("rank_pattern: %w", err)
	}
	if a.alphas, err = parsePatterns(keys["alpha_pattern"]); err != nil {
		return nil, fmt.Errorf("alpha_pattern: %w", err)
	}
	return a, nil
}

// isOff reports whether a key has a value that turns its option off.
func isOff(v json.RawMessage) bool {
	return slices.Contains([]string{"", "null", "false", "{}", "[]", `""`}, compact(v))
}

// compact is a value without white space.
func compact(v json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v)
	}
	return b.String()
}

func sortedKeys(m map[string]json.RawMessage) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// clip shortens a text for an error.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "..."
	}
	return s
}

// parseMatcher reads target_modules: names, a regular expression, or all-linear.
func parseMatcher(v json.RawMessage) (m matcher, err error) {
	var text string
	switch {
	case json.Unmarshal(v, &text) == nil && text == "all-linear":
		for _, p := range checkpoint.Projections() {
			m.names = append(m.names, p.Short())
		}
	case text != "":
		m.expression, err = compileWhole(text)
	case json.Unmarshal(v, &m.names) != nil || len(m.names) == 0:
		err = fmt.Errorf("want names or a regular expression, got %s", clip(compact(v)))
	}
	return m, err
}

// compileWhole compiles a regular expression that a whole name has to match.
func compileWhole(text string) (*regexp2.Regexp, error) {
	e, err := regexp2.Compile(`\A(?:`+text+`)\z`, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%s: not a regular expression", clip(text))
	}
	e.MatchTimeout = time.Second
	return e, nil
}

// parsePatterns reads the entries of rank_pattern or alpha_pattern in their order, of which
// the first one that matches counts.
func parsePatterns(v json.RawMessage) ([]pattern, error) {
	if isOff(v) {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(v))
	wrong := fmt.Errorf("want an object of numbers, got %s", clip(compact(v)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, wrong
	}
	var out []pattern
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, wrong
		}
		var p pattern
		if d.Decode(&p.value) != nil {
			return nil, wrong
		}
		if p.name, err = compileWhole(`(?:.*\.)?(?:` + key.(string) + `)`); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// valueOf is the value that the patterns give a module, or the default.
func valueOf(patterns []pattern, module string, standard float64) float64 {
	for _, p := range patterns {
		if ok, err := p.name.MatchString(module); ok && err == nil {
			return p.value
		}
	}
	return standard
}

// adapterShape is the rank of a module's adapter and the alpha of a scale alpha/rank.
type adapterShape struct {
	rank  int
	alpha float64
}

// shape is the shape of the adapter of a layer's module, and whether it has one.
func (a *peftAdapter) shape(layer int, module string) (adapterShape, bool, error) {
	if !a.targets.matches(module) || a.excluded.matches(module) || a.layers != nil && !slices.Contains(a.layers, layer) {
		return adapterShape{}, false, nil
	}
	rank, alpha := valueOf(a.ranks, module, a.rank), valueOf(a.alphas, module, a.alpha)
	if !(rank >= 1 && rank <= maxRank) || rank != math.Trunc(rank) {
		return adapterShape{}, false, fmt.Errorf("rank: want 1 to %d, got %v for %s", maxRank, rank, module)
	}
	if a.rankStabilized {
		alpha *= math.Sqrt(rank)
	}
	return adapterShape{int(rank), alpha}, true, nil
}
