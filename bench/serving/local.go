package serving

import (
	"context"
	"log/slog"
	"net"
	"time"

	"mop/runtime/device"
	"mop/runtime/server"
)

// Local loads models onto a device, serves them in this process, and gives their targets. close
// ends the server and frees the models.
func Local(ctx context.Context, dev device.Device, specs []server.Spec) (targets []Target, vocab int, closeAll func() error, err error) {
	var models []*server.Model
	free := func() {
		for _, m := range models {
			m.Close()
		}
	}
	for _, spec := range specs {
		m, err := server.Load(dev, spec)
		if err != nil {
			free()
			return nil, 0, nil, err
		}
		if models = append(models, m); vocab == 0 || m.Vocab() < vocab {
			vocab = m.Vocab()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		free()
		return nil, 0, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- server.New(server.Options{Logger: slog.New(slog.DiscardHandler)}).Serve(ctx, l, func() ([]*server.Model, error) { return models, nil })
	}()
	for _, m := range models {
		targets = append(targets, Target{Name: m.Name, URL: "http://" + l.Addr().String(), Model: m.Name})
	}
	closeAll = func() error {
		stop()
		err := <-ended
		free()
		return err
	}
	for { // the server answers as soon as its engines run
		if _, err := FirstModel(ctx, targets[0].URL, ""); err == nil {
			return targets, vocab, closeAll, nil
		}
		select {
		case <-ctx.Done():
			closeAll()
			return nil, 0, nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}
