package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"tillandsia/shared/httpapi"
	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/admin"
	"tillandsia/syncserver/internal/link"
	"tillandsia/syncserver/internal/store"
)

// Time limits of the HTTP server. WriteTimeout covers the largest export.
const (
	readHeaderLimit = 10 * time.Second
	readLimit       = 2 * time.Minute
	writeLimit      = 5 * time.Minute
	idleLimit       = 2 * time.Minute
	stopLimit       = 15 * time.Second
	readyLimit      = 3 * time.Second
)

// Admission of registers: how many hellos a second, and how many at once.
const (
	handshakes      = 500
	handshakesBurst = 200
)

func serve(ctx context.Context, c *call) (int, error) {
	listen := c.flags.String("listen", "127.0.0.1:8069", "`address` to listen on")
	cert := c.flags.String("tls-cert", "", "certificate `file`; with -tls-key")
	key := c.flags.String("tls-key", "", "key `file`")
	return c.with(ctx, 0, func(p *parts) error {
		password, err := p.staff.FirstAdmin(ctx)
		if err != nil {
			return err
		}
		if password != "" {
			if _, err := fmt.Fprintf(c.Out, "first start: sign in as admin with the password %s (shown once)\n", password); err != nil {
				return err
			}
		}
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", *listen)
		if err != nil {
			return message.New(message.Unavailable, "app.listen", "address", *listen).Wrap(err)
		}
		s := &server{call: c, parts: p, listener: listener, cert: *cert, key: *key}
		return s.run(ctx)
	})
}

// server is a serving program: its parts stop in the reverse order in which
// they started.
type server struct {
	*call
	*parts
	listener  net.Listener
	cert, key string
	hub       *link.Hub
}

func (s *server) run(ctx context.Context) error {
	changed, cancel := s.store.Changed()
	defer cancel()
	s.hub = link.New(s.ledger, link.Options{
		Handshakes: handshakes, Burst: handshakesBurst, Changed: changed, Clock: time.Now, Logger: s.log,
	})
	web := &http.Server{
		Handler:           s.engine(), //nolint:contextcheck // a handler takes the context of its request
		ReadHeaderTimeout: readHeaderLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.hub.Run(ctx) })
	group.Go(func() error {
		err := s.serveHTTP(web)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve: %w", err)
	})
	group.Go(func() error {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		if err := web.Shutdown(limit); err != nil {
			return errors.Join(err, web.Close())
		}
		return nil
	})
	if _, err := fmt.Fprintf(s.Out, "ready %s://%s\n", s.scheme(), s.listener.Addr()); err != nil {
		s.log.Warn("ready line not written", "error", err)
	}
	return group.Wait()
}

func (s *server) scheme() string {
	if s.cert != "" {
		return "https"
	}
	return "http"
}

func (s *server) serveHTTP(web *http.Server) error {
	if s.cert != "" {
		return web.ServeTLS(s.listener, s.cert, s.key)
	}
	return web.Serve(s.listener)
}

// engine routes registers, managers, health and metrics.
func (s *server) engine() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	// Behind a proxy the address that sign-in tries are counted by is the
	// proxy's: no forwarded header is believed unasked.
	if err := engine.SetTrustedProxies(nil); err != nil {
		s.log.Error("trusted proxies not set", "error", err)
	}
	requests := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tillandsia_http_request_seconds", Help: "Time to answer a request, by route and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	}, []string{"route", "status"})
	engine.Use(s.recovered, s.logged(requests), headers)
	engine.HandleMethodNotAllowed = true
	engine.NoRoute(refused(http.StatusNotFound))
	engine.NoMethod(refused(http.StatusMethodNotAllowed))
	s.hub.Route(engine)
	admin.Mount(engine, admin.Services{Staff: s.staff, Setup: s.setup, Ledger: s.ledger, Store: s.store}, Version, s.log)
	engine.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok\n") })
	engine.GET("/readyz", s.ready)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), requests, &hubCollector{hub: s.hub})
	engine.GET("/metrics", gin.WrapH(promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	return engine
}

// ready answers whether the database answers.
func (s *server) ready(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyLimit)
	defer cancel()
	err := s.store.View(ctx, func(r store.Reader) error {
		_, err := r.Revision(ctx)
		return err
	})
	if err != nil {
		s.log.WarnContext(ctx, "not ready", "error", err)
		c.String(http.StatusServiceUnavailable, "the database does not answer\n")
		return
	}
	c.String(http.StatusOK, "ready\n")
}

// headers are those of every answer: nothing here is meant to be framed,
// sniffed or cached by others.
func headers(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	c.Next()
}

// refused answers what no route takes.
func refused(status int) gin.HandlerFunc {
	return func(c *gin.Context) { c.JSON(status, httpapi.Refusal(status)) }
}

// recovered answers a panic of a handler as an internal error.
func (s *server) recovered(c *gin.Context) {
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(c.Request.Context(), "handler panicked", "path", c.Request.URL.Path, "panic", p)
			if !c.Writer.Written() {
				c.AbortWithStatusJSON(http.StatusInternalServerError, gin.H{
					"status": http.StatusInternalServerError, "code": "common.internal",
					"message": message.Text(message.English, "common.internal", map[string]string{"code": "panic"}),
				})
			}
		}
	}()
	c.Next()
}

func (s *server) logged(requests *prometheus.HistogramVec) gin.HandlerFunc {
	return func(c *gin.Context) {
		began := time.Now()
		c.Next()
		route := c.FullPath()
		if route == "" {
			route = "none"
		}
		took := time.Since(began)
		requests.WithLabelValues(route, fmt.Sprint(c.Writer.Status())).Observe(took.Seconds())
		s.log.DebugContext(c.Request.Context(), "request", "method", c.Request.Method, "route", route, "status", c.Writer.Status(), "took", took)
	}
}

// hubCollector exports what the sync endpoint does.
type hubCollector struct{ hub *link.Hub }

var hubMetrics = map[string]*prometheus.Desc{
	"connected": prometheus.NewDesc("tillandsia_sync_connected", "Registers that are connected.", nil, nil),
	"accepted":  prometheus.NewDesc("tillandsia_sync_connections_total", "Connections accepted.", nil, nil),
	"refused":   prometheus.NewDesc("tillandsia_sync_refused_total", "Connections refused.", nil, nil),
	"replaced":  prometheus.NewDesc("tillandsia_sync_replaced_total", "Connections replaced by newer ones of the same register.", nil, nil),
	"batches":   prometheus.NewDesc("tillandsia_sync_batches_total", "Batches committed.", nil, nil),
	"entries":   prometheus.NewDesc("tillandsia_sync_entries_total", "Entries committed.", nil, nil),
	"troubles":  prometheus.NewDesc("tillandsia_sync_troubles_total", "Batches whose outcome was left open.", nil, nil),
}

// Describe implements prometheus.Collector.
func (h *hubCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range hubMetrics {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *hubCollector) Collect(out chan<- prometheus.Metric) {
	n := h.hub.Counts()
	out <- prometheus.MustNewConstMetric(hubMetrics["connected"], prometheus.GaugeValue, float64(n.Connected))
	for name, value := range map[string]uint64{
		"accepted": n.Accepted, "refused": n.Refused, "replaced": n.Replaced,
		"batches": n.Batches, "entries": n.Entries, "troubles": n.Troubles,
	} {
		out <- prometheus.MustNewConstMetric(hubMetrics[name], prometheus.CounterValue, float64(value))
	}
}
