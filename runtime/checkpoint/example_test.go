package checkpoint_test

import (
	"fmt"
	"log"

	"mop/runtime/checkpoint"
)

// A checkpoint directory is mapped: opening it reads its headers, and a tensor is a view
// of the file.
func Example() {
	src, err := checkpoint.Open("../../bench/demo/model")
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	fmt.Println(len(src.Config().Layers), "layers, the first with", src.Config().Layers[0].Heads, "heads")
	t, err := src.Tensor(checkpoint.LayerName(0, checkpoint.AttnNorm))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.Name, t.Shape, t.DType.ConfigName())
	// Output:
	// 22 layers, the first with 16 heads
	// model.layers.0.input_layernorm.weight [96] bfloat16
}
