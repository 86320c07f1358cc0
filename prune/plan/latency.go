package plan

import (
	"mop/runtime/predict"
)

// PredictLatency fills in the predicted time of the base and of every step.
func (p *Plan) PredictLatency(predictor *predict.Predictor) {
	p.Base.LatencyMS = predictor.Latency(p.Base.Shapes)
	for i := range p.Steps {
		p.Steps[i].LatencyMS = predictor.Latency(p.Steps[i].Shapes)
	}
	w := predictor.Workload()
	if p.Settings == nil {
		p.Settings = map[string]any{}
	}
	p.Settings["latency_in"], p.Settings["latency_out"], p.Settings["latency_batch"] = w.In, w.Out, w.Batch
	if w.Part != predict.EndToEnd {
		p.Settings["latency_part"] = string(w.Part)
	}
}
