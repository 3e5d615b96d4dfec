package store

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// slogCore hands etcd's zap records to slog, one level lower: what etcd calls
// information is detail for Sallyport's operators.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
	closed *atomic.Bool // nil: never
}

func zapLogger(log *slog.Logger) *zap.Logger { return zapLoggerUntil(log, nil) }

// zapLoggerUntil is zapLogger for a member that is to be closed: from then on all is detail, since etcd
// calls the end of its listeners an error.
func zapLoggerUntil(log *slog.Logger, closed *atomic.Bool) *zap.Logger {
	return zap.New(slogCore{log: log.With("component", "etcd"), closed: closed})
}

func (c slogCore) level(l zapcore.Level) slog.Level {
	switch {
	case c.closed != nil && c.closed.Load():
		return slog.LevelDebug
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	case l == zapcore.InfoLevel:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

// Enabled implements zapcore.LevelEnabler.
func (c slogCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), c.level(l))
}

// With implements zapcore.Core.
func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields = append(slices.Clip(c.fields), fields...)
	return c
}

// Check implements zapcore.Core.
func (c slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(c.fields), fields...) {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for _, name := range slices.Sorted(maps.Keys(enc.Fields)) {
		attrs = append(attrs, slog.Any(name, enc.Fields[name]))
	}
	c.log.LogAttrs(context.Background(), c.level(e.Level), e.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (c slogCore) Sync() error { return nil }
