package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// Layers that have one number of query heads, or none, are written as Nemotron-NAS and
// read back; the widths may be any.
func TestMarshalNemotron(t *testing.T) {
	c := parse(t, `,"head_dim":6,"num_key_value_heads":4`)
	c.Layers = []LayerShape{{4, 4, 6, 37}, {0, 0, 6, 1}, {4, 1, 6, 0}, {0, 0, 6, 0}, {4, 2, 6, 256}}
	c.HFType = TypeNemotronNAS
	text := must(Marshal(c))
	back := must(Parse(text))
	want := c.Clone()
	want.HFType = ""
	if !reflect.DeepEqual(back, want) {
		t.Errorf("want %+v\ngot  %+v", want, back)
	}
	if strings.Contains(string(text), "ffn_mult") || strings.Contains(string(text), "per_layer_config") {
		t.Errorf("got %s", text)
	}
	var raw struct {
		Heads   int `json:"num_attention_heads"`
		AutoMap struct{ AutoConfig string }
		Blocks  []struct {
			Attention struct {
				Group *int `json:"n_heads_in_group"`
				NoOp  bool `json:"no_op"`
			}
			FFN struct {
				Size int `json:"intermediate_size"`
			}
		} `json:"block_configs"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if raw.Heads != 4 || *raw.Blocks[2].Attention.Group != 4 || !raw.Blocks[1].Attention.NoOp || raw.Blocks[0].FFN.Size != 37 {
		t.Errorf("got %s", text)
	}
	if code := c.RemoteCode()["configuration_nemotron_nas.py"]; !strings.Contains(string(code), "class NemotronNASConfig") {
		t.Errorf("got %s", code)
	}
	c.Layers[4].Heads = 2
	if _, err := Marshal(c); err == nil || !strings.Contains(err.Error(), "layer 4: want 4 query heads, as layer 0 has, got 2") {
		t.Errorf("want an error that names layer 4, got %v", err)
	}
	c.Layers = []LayerShape{{0, 0, 6, 0}, {0, 0, 6, 5}, {4, 4, 6, 5}}
	if _, err := Marshal(c); err == nil || !strings.Contains(err.Error(), "layer 1: has an MLP") {
		t.Errorf("want an error that names layer 1, got %v", err)
	}
	c.Layers = []LayerShape{{0, 0, 6, 0}}
	if _, err := Marshal(c); err == nil || !strings.Contains(err.Error(), "attention") {
		t.Errorf("want an error about attention, got %v", err)
	}
}
