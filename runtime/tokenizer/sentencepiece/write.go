package sentencepiece

// Marshal is the model file of a model. Read gives the same model back, and SentencePiece
// loads it. A denormalizer is not written.
func Marshal(m *Model) []byte {
	var out []byte
	for _, p := range m.Pieces {
		piece := appendFloat(appendBytes(nil, 1, p.Text), 2, p.Score)
		out = appendBytes(out, 1, appendNumber(piece, 3, p.Type))
	}
	trainer := appendNumber(nil, 3, m.Type)
	trainer = appendNumber(trainer, 4, uint64(len(m.Pieces)))
	trainer = appendBool(trainer, 24, m.TreatWhitespaceAsSuffix)
	trainer = appendBool(trainer, 35, m.ByteFallback)
	// The ids of special pieces, which some readers take from here: unknown, BOS, EOS and
	// padding; -1 = none.
	unknown, bos, eos := -1, -1, -1
	for id, p := range m.Pieces {
		switch {
		case p.Type == Unknown:
			unknown = id
		case p.Type == Control && p.Text == m.BOS:
			bos = id
		case p.Type == Control && p.Text == m.EOS:
			eos = id
		}
	}
	for i, id := range []int{unknown, bos, eos, -1} {
		trainer = appendNumber(trainer, 40+i, uint64(int64(id)))
	}
	trainer = appendBytes(trainer, 44, m.UnknownSurface)
	if unknown >= 0 {
		trainer = appendBytes(trainer, 45, m.Pieces[unknown].Text)
	}
	trainer = appendBytes(appendBytes(trainer, 46, m.BOS), 47, m.EOS)
	out = appendBytes(out, 2, trainer)
	normalizer := appendBytes(nil, 1, "identity")
	if len(m.CharsMap) > 0 {
		normalizer = appendBytes(nil, 2, m.CharsMap)
	}
	normalizer = appendBool(normalizer, 3, m.AddDummyPrefix)
	normalizer = appendBool(normalizer, 4, m.RemoveExtraWhitespaces)
	normalizer = appendBool(normalizer, 5, m.EscapeWhitespaces)
	return appendBytes(out, 3, normalizer)
}
