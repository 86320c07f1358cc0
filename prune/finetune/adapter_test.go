package finetune

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
)

// What an adapter adds to the weights is what PEFT adds, for every option that is applied;
// testdata/adapters.py makes the adapters. An adapter that is saved again says the same.
func TestAdapterOptionsGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/adapters.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string][2]float64
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 9 {
		t.Fatalf("want at least 9 adapters, got %d", len(golden))
	}
	for name, want := range golden {
		again := filepath.Join(t.TempDir(), "again")
		checkDeltas(t, name, filepath.Join("testdata/adapters", name), again, want)
		checkDeltas(t, name+", saved again", again, "", want)
	}
}

// checkDeltas compares what an adapter adds to the weights, and saves the adapter again.
func checkDeltas(t *testing.T, name, dir, again string, want map[string][2]float64) {
	t.Helper()
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	r := &run{Options: Defaults(), device: dev, result: &Result{}}
	r.Model, r.AdapterInit, r.SaveAdapter, r.Out = "testdata/model", dir, again, "out"
	if r.source, err = checkpoint.Open(r.Model); err != nil {
		t.Fatal(err)
	}
	defer r.source.Close()
	if err := r.readAdapter(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := r.loadModel(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer r.freeModel()
	n := 0
	for _, m := range modules(r.source.Config()) {
		if !r.trainer.HasAdapter(m.layer, m.param) {
			continue
		}
		n++
		delta, err := r.trainer.Delta(m.layer, m.param)
		if err != nil {
			t.Fatal(err)
		}
		cols := r.source.Config().HiddenSize
		switch m.param {
		case checkpoint.WO:
			cols = 40
		case checkpoint.WDown:
			cols = 20
		}
		var sums [2]float64
		for i, v := range delta {
			sums[0] += float64(v)
			sums[1] += float64(v) * math.Cos(float64(i/cols+3*(i%cols)))
		}
		w, ok := want[m.name(nil)]
		if !ok || math.Abs(sums[0]-w[0]) > 1e-3 || math.Abs(sums[1]-w[1]) > 1e-3 {
			t.Errorf("%s: %s: want sums %v, got %v", name, m.name(nil), w, sums)
		}
	}
	if n != len(want) {
		t.Errorf("%s: want %d modules with an adapter, got %d", name, len(want), n)
	}
	if again != "" {
		if err := r.saveAdapter(); err != nil {
			t.Error(err)
		}
	}
}

// adapterWith copies an adapter with changed keys of its config; nil removes a key.
func adapterWith(t *testing.T, from string, keys map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, adapterConfig)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for key, v := range keys {
		if config[key] = v; v == nil {
			delete(config, key)
		}
	}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An option that is not applied is refused by its name, also one that PEFT does not have
// yet; and so is an adapter that does not fit the model.
func TestAdapterRefused(t *testing.T) {
	const from = "testdata/adapter"
	for _, c := range []struct {
		key   string
		value any
		want  string
	}{
		{"init_lora_weights", "pissa", "pissa"}, {"init_lora_weights", "pissa_niter_16", "pissa_niter_16"}, {"init_lora_weights", "olora", "olora"},
		{"init_lora_weights", "corda", "corda"}, {"init_lora_weights", "loftq", "loftq"}, {"init_lora_weights", "newer", "newer"},
		{"use_dora", true, ""}, {"modules_to_save", []string{"lm_head"}, ""}, {"bias", "all", ""}, {"bias", "lora_only", ""}, {"lora_bias", true, ""}, {"fan_in_fan_out", true, ""},
		{"layer_replication", [][2]int{{0, 1}}, ""}, {"trainable_token_indices", []int{1}, ""}, {"trainable_token_indices", map[string][]int{"embed_tokens": {1}}, ""},
		{"target_parameters", []string{"x"}, ""}, {"use_qalora", true, ""}, {"alora_invocation_tokens", []int{1}, ""}, {"arrow_config", map[string]int{"top_k": 1}, ""},
		{"loftq_config", map[string]int{"loftq_bits": 4}, ""}, {"corda_config", map[string]int{"x": 1}, ""}, {"layers_pattern", "blocks", ""}, {"some_later_option", 3, ""},
		{"peft_type", "LOHA", "want LORA"}, {"target_modules", []string{}, "want names"}, {"target_modules", nil, "want names"}, {"target_modules", "(", "not a regular expression"},
		{"target_modules", []string{"q_proj"}, "target_modules does not name it"}, {"r", "x", "want a number"}, {"r", 3, "lora_A.weight: want [3"}, {"rank_pattern", []int{1}, "want an object"},
		{"rank_pattern", map[string]any{"q_proj": 0.5}, "rank: want 1"}, {"rank_pattern", map[string]any{"(": 1}, "not a regular expression"}, {"layers_to_transform", "x", "want numbers of layers"},
	} {
		if c.want == "" {
			c.want = c.key
		}
		o := fixture(t, 1)
		o.AdapterInit = adapterWith(t, from, map[string]any{c.key: c.value})
		_, err := Run(t.Context(), o)
		testutil.CheckError(t, c.key, err, c.want)
	}
	// PEFT's defaults: rank and alpha are 8.
	a, err := parseAdapterConfig([]byte(`{"peft_type":"LORA","target_modules":["q_proj"]}`))
	if err != nil || a.rank != 8 || a.alpha != 8 {
		t.Errorf("defaults: got %+v, %v", a, err)
	}
}

// A matrix that matches nothing in the model is an error, and names of other spellings are
// understood.
func TestAdapterKeys(t *testing.T) {
	rewrite := func(replace func(name string) string) string {
		dir := adapterWith(t, "testdata/adapter", nil)
		path := filepath.Join(dir, adapterFile)
		f, err := checkpoint.OpenTensorFile(filepath.Join("testdata/adapter", adapterFile))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var specs []checkpoint.TensorSpec
		for _, name := range f.Names() {
			s := checkpoint.Copy(f.Header(name))
			s.Name = replace(name)
			specs = append(specs, s)
		}
		slices.SortFunc(specs, func(a, b checkpoint.TensorSpec) int { return strings.Compare(a.Name, b.Name) })
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := checkpoint.WriteTensorFile(out, specs); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, c := range []struct{ from, to, want string }{
		{"layers.0.", "layers.7.", "the model has no such matrix"},
		{"model.layers.0.self_attn.q_proj", "model.vision_tower.layers.0.self_attn.q_proj", "the model has no such matrix"},
		{"layers.0.self_attn.q_proj.lora_A.weight", "layers.0.self_attn.q_proj.lora_magnitude_vector", "want a name such as"},
		{"layers.0.self_attn.q_proj.lora_A", "layers.0.self_attn.q_proj.lora_B.other", "are the same matrix"},
		{".weight", ".default.weight", ""},
		{"base_model.model.model.", "base_model.model.model.language_model.", ""},
		{"base_model.model.", "base_model.model.language_model.", ""},
	} {
		o := fixture(t, 1)
		o.Steps, o.AdapterInit = 1, rewrite(func(name string) string { return strings.Replace(name, c.from, c.to, 1) })
		if _, err := Run(t.Context(), o); c.want != "" {
			testutil.CheckError(t, c.to, err, c.want)
		} else if err != nil {
			t.Errorf("%s: %v", c.to, err)
		}
	}
}

// A LLaVA that is trained is a LLaVA: its vision tower and its projector are the same
// bytes, and so are the tensors that were not trained. Its adapter has the names of the
// model that was trained, names none of the vision tower's modules, and can be given back.
func TestLLaVA(t *testing.T) {
	for _, c := range []struct {
		pairs []string // changes of the checkpoint's names
		key   string   // of the adapter's first matrix
	}{
		{nil, "base_model.model.language_model.model.layers.0.mlp.down_proj.lora_A.weight"},
		{[]string{"language_model.model.", "model.language_model.", "language_model.lm_head", "lm_head", "vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."},
			"base_model.model.model.language_model.layers.0.mlp.down_proj.lora_A.weight"},
	} {
		o := fixture(t, 1)
		dir := t.TempDir()
		o.Model = llava(t, c.pairs...)
		o.Out, o.SaveAdapter, o.Steps, o.Rank, o.LearningRate, o.MaxLength = filepath.Join(dir, "out"), filepath.Join(dir, "adapter"), 1, 2, 1e-2, 16
		if o.Data = filepath.Join(dir, "text.txt"); os.WriteFile(o.Data, []byte("abcacbabc"), 0o666) != nil {
			t.Fatal("cannot write the text")
		}
		o.Targets = []checkpoint.Param{checkpoint.WQ, checkpoint.WDown}
		if _, err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		was, is := tensorsOf(t, o.Model), tensorsOf(t, o.Out)
		if len(was) != len(is) {
			t.Errorf("want %d tensors, got %d", len(was), len(is))
		}
		changed := 0
		for name, data := range was {
			if trained := strings.Contains(name, "q_proj") || strings.Contains(name, "down_proj"); is[name] != data {
				if changed++; !trained || strings.Contains(name, "vision") {
					t.Errorf("%s has changed", name)
				}
			}
		}
		config, err := os.ReadFile(filepath.Join(o.Out, "config.json"))
		if err != nil || !strings.Contains(string(config), "LlavaForConditionalGeneration") {
			t.Errorf("config.json: %s, %v", config, err)
		}
		f, err := checkpoint.OpenTensorFile(filepath.Join(o.SaveAdapter, adapterFile))
		if err != nil {
			t.Fatal(err)
		}
		if names := f.Names(); names[0] != c.key {
			t.Errorf("want %s first, got %s", c.key, names[0])
		}
		f.Close()
		a, err := readAdapterConfig(o.SaveAdapter)
		if err != nil {
			t.Fatal(err)
		}
		for module, want := range map[string]bool{
			"model.language_model.layers.0.self_attn.q_proj": true, "language_model.model.layers.1.mlp.down_proj": true, "model.language_model.layers.0.self_attn.k_proj": false,
			"vision_tower.vision_model.encoder.layers.0.self_attn.q_proj": false, "model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj": false,
		} {
			if a.targets.matches(module) != want {
				t.Errorf("target_modules: %s: want %v", module, want)
			}
		}
		o.AdapterInit, o.SaveAdapter, o.Out = o.SaveAdapter, "", filepath.Join(dir, "again")
		if _, err := Run(t.Context(), o); err != nil {
			t.Errorf("the adapter given back: %v", err)
		}
	}
}

// llava copies the small LLaVA of runtime/model with other names.
func llava(t *testing.T, pairs ...string) string {
	t.Helper()
	const from = "../../runtime/model/testdata/llava-hf"
	dir := t.TempDir()
	src, err := checkpoint.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	src.Close()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	const letters = `{"added_tokens":[{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],"model":{"type":"BPE","vocab":{"<s>":1,"</s>":2,"a":3,"b":4,"c":5},"merges":[]}}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(letters), 0o666); err != nil {
		t.Fatal(err)
	}
	if len(pairs) == 0 {
		return dir
	}
	f, err := checkpoint.OpenTensorFile(filepath.Join(from, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var specs []checkpoint.TensorSpec
	names := strings.NewReplacer(pairs...)
	for _, name := range f.Names() {
		s := checkpoint.Copy(f.Header(name))
		s.Name = names.Replace(name)
		specs = append(specs, s)
	}
	out, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := checkpoint.WriteTensorFile(out, specs); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tensorsOf reads the tensors of a checkpoint of one file.
func tensorsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	f, err := checkpoint.OpenTensorFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	for _, name := range f.Names() {
		out[name] = string(f.Header(name).Data)
	}
	return out
}
