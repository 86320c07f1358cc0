package checkpoint

import "mop/runtime/config"

// ExportNemotronNAS writes a model as Nemotron-NAS, for engines that know this form of
// layers that differ. The tensors are those of the source. A model whose layers have
// different numbers of query heads is an error that names the layer.
func ExportNemotronNAS(src Source, out string, o SaveOptions) error {
	c := src.Config().Clone()
	c.HFType = config.TypeNemotronNAS
	var specs []TensorSpec
	for _, info := range ExpectedTensors(c) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return err
		}
		specs = append(specs, Copy(t))
	}
	return Save(out, c, specs, o)
}
