package prune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"mop/prune/method"
	"mop/prune/plan"
	"mop/prune/score"
)

// newPlan returns the plan of the run before its first step.
func (r *run) newPlan() *plan.Plan {
	p := plan.NewPlan(r.base.Config(), r.width)
	p.Base.Weights = r.checksum
	p.Method, p.Criterion, p.Seed = r.methodName(), r.Criterion, r.Seed
	if !r.TargetLatency { // shares of the latency are no compressions
		p.Targets = r.Targets
	}
	p.Sequence, p.Texts, p.Settings = r.Sequence, r.inputs.checksums, r.settings()
	return p
}

// methodName is the method's name where it is not MoP.
func (r *run) methodName() string {
	if name := r.method.Name(); name != method.All()[0].Name() {
		return name
	}
	return ""
}

// RefitSetting is the key of plan.json's settings that says that the model was refitted.
const RefitSetting = "refit"

// settings are the options that plan.json holds beside the rule, as they were used.
func (r *run) settings() map[string]any {
	s := map[string]any{"prompts": len(r.inputs.prompts), "calibration_sample": r.Sample, "windows": len(r.inputs.windows),
		"context": r.contextLength(), "exact_target": r.ExactTarget, "separator": r.Separator, "hf_type": r.HFType}
	if r.score.Name() != score.AMP().Name() {
		s["score"] = r.score.Name()
	}
	if r.Special {
		s["special"] = true
	}
	if r.ChatTemplate != "" {
		s["chat_template"] = r.ChatTemplate
	}
	if r.Refit {
		s[RefitSetting] = true
	}
	for name, value := range r.fineTuning {
		s[name] = value
	}
	if r.LatencyIdentity != "" {
		s["latency"] = r.LatencyIdentity
	}
	if r.TargetLatency {
		s["target"] = "share of the dense model's latency"
	}
	return s
}

// identity is everything that a step depends on. A run does not continue the journal of a
// run with another identity. The targets, and how their models are refitted and written, are
// not part of it, so a finished run can be continued to other targets.
func (r *run) identity() map[string]string {
	s := r.settings()
	delete(s, "exact_target")
	delete(s, "hf_type")
	delete(s, RefitSetting)
	delete(s, "target")
	id := map[string]string{"weights": r.checksum, "criterion": r.Criterion, "sequence": r.Sequence, "seed": fmt.Sprint(r.Seed),
		"rule": r.width.Rule, "round_to": fmt.Sprint(r.width.RoundTo), "heads_multiple": fmt.Sprint(r.width.HeadsMultiple), "allocation": r.width.Allocation}
	if name := r.methodName(); name != "" {
		id["method"] = name
	}
	maps.Copy(id, r.inputs.checksums)
	for name, value := range s {
		id[name] = fmt.Sprint(value)
	}
	return id
}

// identityKey is a checksum of the identity.
func (r *run) identityKey() (string, error) {
	text, err := json.Marshal(r.identity())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
