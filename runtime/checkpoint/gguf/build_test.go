package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// builder makes the bytes of GGUF files, right ones and wrong ones.
type builder struct {
	version        uint32
	pairs, tensors bytes.Buffer
	nPairs         int
	nTensors       int
	data           bytes.Buffer
	alignment      int
}

func newBuilder() *builder { return &builder{version: 3, alignment: 32} }

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			put(b, uint64(len(s)))
			b.WriteString(s)
			continue
		}
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
}

// set adds a metadata value; slices become arrays.
func (b *builder) set(key string, v any) *builder {
	b.nPairs++
	put(&b.pairs, key)
	one := func(v any) (kind, any) {
		switch x := v.(type) {
		case uint32:
			return kindUint32, x
		case int32:
			return kindInt32, x
		case uint64:
			return kindUint64, x
		case uint8:
			return kindUint8, x
		case float32:
			return kindFloat32, x
		case float64:
			return kindFloat64, x
		case bool:
			if x {
				return kindBool, uint8(1)
			}
			return kindBool, uint8(0)
		case string:
			return kindString, x
		}
		panic(fmt.Sprintf("%T", v))
	}
	list := func(n int, at func(int) any) {
		k, _ := one(at(0))
		put(&b.pairs, uint32(kindArray), uint32(k), uint64(n))
		for i := range n {
			_, x := one(at(i))
			put(&b.pairs, x)
		}
	}
	switch x := v.(type) {
	case []string:
		list(len(x), func(i int) any { return x[i] })
	case []uint32:
		list(len(x), func(i int) any { return x[i] })
	case []int32:
		list(len(x), func(i int) any { return x[i] })
	case []float32:
		list(len(x), func(i int) any { return x[i] })
	default:
		k, x := one(v)
		put(&b.pairs, uint32(k), x)
	}
	return b
}

// raw adds a metadata value from its bytes.
func (b *builder) raw(key string, values ...any) *builder {
	b.nPairs++
	put(&b.pairs, key)
	put(&b.pairs, values...)
	return b
}

// tensor adds a tensor of the right size; shape is in row-major order.
func (b *builder) tensor(name string, t Type, shape ...int) *builder {
	b.info(name, t, uint64(b.data.Len()), shape...)
	info := TensorInfo{Type: t, Shape: shape}
	n, _ := info.size()
	for i := range int(n) {
		b.data.WriteByte(byte(i % 59)) // finite in every type
	}
	b.data.Write(make([]byte, padded(uint64(b.data.Len()), uint64(b.alignment))-uint64(b.data.Len())))
	return b
}

// info adds the description of a tensor alone.
func (b *builder) info(name string, t Type, offset uint64, shape ...int) *builder {
	b.nTensors++
	put(&b.tensors, name, uint32(len(shape)))
	for i := len(shape) - 1; i >= 0; i-- {
		put(&b.tensors, uint64(shape[i]))
	}
	put(&b.tensors, uint32(t), offset)
	return b
}

func (b *builder) bytes() []byte {
	var out bytes.Buffer
	out.WriteString(magic)
	put(&out, b.version, uint64(b.nTensors), uint64(b.nPairs))
	out.Write(b.pairs.Bytes())
	out.Write(b.tensors.Bytes())
	out.Write(make([]byte, padded(uint64(out.Len()), uint64(b.alignment))-uint64(out.Len())))
	out.Write(b.data.Bytes())
	return out.Bytes()
}

// model is a LLaMA of one layer, 4 query heads and 2 KV heads of size 8, hidden size
// 32, 3 neurons and 4 tokens, with matrices of a type. Keys that are given replace
// those of the model; nil leaves one out.
func model(t Type, keys map[string]any) *builder {
	b := newBuilder()
	for _, p := range []struct {
		key string
		v   any
	}{
		{"general.architecture", "llama"},
		{"llama.context_length", uint32(16)}, {"llama.embedding_length", uint32(32)}, {"llama.block_count", uint32(1)},
		{"llama.feed_forward_length", uint32(32)}, {"llama.attention.head_count", uint32(4)}, {"llama.attention.head_count_kv", uint32(2)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.tokens", []string{"<unk>", "a", "b", "ab"}},
		{"tokenizer.ggml.scores", []float32{0, -2, -1, -3}}, {"tokenizer.ggml.token_type", []int32{2, 1, 1, 1}},
	} {
		v, replaced := keys[p.key]
		if !replaced {
			v = p.v
		}
		if v != nil {
			b.set(p.key, v)
		}
		delete(keys, p.key)
	}
	for key, v := range keys {
		b.set(key, v)
	}
	b.tensor("token_embd.weight", t, 4, 32)
	b.tensor("blk.0.attn_norm.weight", F32, 32).tensor("blk.0.ffn_norm.weight", F32, 32).tensor("output_norm.weight", F32, 32)
	b.tensor("blk.0.attn_q.weight", t, 32, 32).tensor("blk.0.attn_k.weight", t, 16, 32).tensor("blk.0.attn_v.weight", t, 16, 32)
	b.tensor("blk.0.attn_output.weight", t, 32, 32)
	b.tensor("blk.0.ffn_gate.weight", t, 32, 32).tensor("blk.0.ffn_up.weight", t, 32, 32).tensor("blk.0.ffn_down.weight", t, 32, 32)
	return b
}

var notANumber = float32(math.NaN())
