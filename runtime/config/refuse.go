package config

import "slices"

// refuse fails on every key that would change the forward pass, or the tensors,
// in a way that is not built. Such a key may be absent, null or at the value
// that does nothing; it is then carried along.
func (f *fields) refuse() {
	if act := f.str("hidden_act", "silu"); act != "silu" {
		f.fail("hidden_act: want silu, got %s", show(act))
	}
	for _, key := range []string{"attention_bias", "mlp_bias"} {
		if f.boolean(key, false) {
			f.fail("%s: biases are not supported", key)
		}
	}
	for _, key := range []string{
		"add_cross_attention", "attention_out_bias", "bias", "is_encoder_decoder", "parallel_residual", "qk_layernorm", "qk_norm",
		"qkv_bias", "rope_interleaved", "scale_attn_by_inverse_layer_idx", "use_bias", "use_parallel_residual", "use_qk_norm", "use_sliding_window",
	} {
		if f.has(key) && f.raw[key] != false {
			f.fail("%s: not supported, got %s", key, show(f.raw[key]))
		}
	}
	for _, key := range []string{
		"embedding_multiplier", "logit_scale", "logits_scaling", "partial_rotary_factor", "residual_multiplier", "rotary_pct", "scale_emb",
	} {
		if x, ok := number(f.raw[key]); f.has(key) && (!ok || x != 1) {
			f.fail("%s: want 1, got %s", key, show(f.raw[key]))
		}
	}
	for _, key := range []string{
		"attention_chunk_size", "attention_multiplier", "attn_logit_softcapping", "clip_qkv", "compression_config", "final_logit_softcapping",
		"n_routed_experts", "no_rope_layers", "num_experts", "num_key_value_heads_per_layer", "num_local_experts", "quantization_config", "sliding_window",
	} {
		if f.has(key) {
			f.fail("%s: not supported, got %s", key, show(f.raw[key]))
		}
	}
	// Not carried along: its length would contradict a model cut in depth.
	if v, ok := f.take("layer_types"); ok {
		list, isList := v.([]any)
		if !isList || slices.ContainsFunc(list, func(v any) bool { return v != "full_attention" }) {
			f.fail("layer_types: want full_attention everywhere, got %s", show(v))
		}
	}
}
