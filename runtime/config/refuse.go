package config

import "slices"

// refuse fails on every key that would change the forward pass, or the tensors, in a way
// that is not supported. Such a key may be absent, null or at the value that does
// nothing; it is then kept.
func (f *fields) refuse() {
	if act := f.str("hidden_act", "silu"); act != "silu" && act != "swish" { // two names of one function
		f.fail("hidden_act: want silu, got %s", show(act))
	}
	for _, key := range []string{"attention_bias", "mlp_bias"} {
		if f.boolean(key, false) {
			f.fail("%s: biases are not supported", key)
		}
	}
	for _, key := range []string{
		"add_cross_attention", "attention_out_bias", "bias", "is_encoder_decoder", "parallel_residual", "qk_layernorm", "qk_norm",
		"qkv_bias", "rope_interleaved", "scale_attn_by_inverse_layer_idx", "use_bias", "use_parallel_residual", "use_qk_norm",
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
	for _, key := range []string{"quantization_config", "quantization", "compression_config"} {
		if f.has(key) {
			f.fail("%s: quantised weights are not supported, got %s: give the model in F32, F16 or BF16", key, show(f.raw[key]))
		}
	}
	for _, key := range []string{"n_routed_experts", "num_experts", "num_local_experts"} {
		if x, ok := number(f.raw[key]); f.has(key) && (!ok || x != 0) {
			f.fail("%s: mixtures of experts are not supported, got %s", key, show(f.raw[key]))
		}
	}
	for _, key := range []string{
		"attention_chunk_size", "attention_multiplier", "attn_logit_softcapping", "clip_qkv", "final_logit_softcapping",
		"no_rope_layers", "num_key_value_heads_per_layer",
	} {
		if f.has(key) {
			f.fail("%s: not supported, got %s", key, show(f.raw[key]))
		}
	}
	// LlamaForCausalLM has no sliding window, whatever these keys say.
	delete(f.raw, "sliding_window")
	delete(f.raw, "use_sliding_window")
	// It is dropped, because its length would contradict a model pruned in depth.
	if v, ok := f.take("layer_types"); ok {
		list, isList := v.([]any)
		if !isList || slices.ContainsFunc(list, func(v any) bool { return v != "full_attention" }) {
			f.fail("layer_types: want full_attention everywhere, got %s", show(v))
		}
	}
}
