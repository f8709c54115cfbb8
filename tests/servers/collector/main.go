// A collector for the tests of the OTLP output, made of the OpenTelemetry collector's own receiver. It appends each span, log record and data point of a
// metric to a file as a line of JSON. With -refuse every request is answered as if the collector were overloaded, with -invalid as if its
// content were invalid.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

type object = map[string]any

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	http := flag.String("http", "", "address for OTLP/HTTP")
	grpc := flag.String("grpc", "", "address for gRPC")
	out := flag.String("out", "", "file for the events")
	cert := flag.String("cert", "", "certificate; with it the server speaks TLS")
	key := flag.String("key", "", "key of the certificate")
	refuse := flag.Bool("refuse", false, "answer as if overloaded")
	invalid := flag.Bool("invalid", false, "answer as if the content were invalid")
	flag.Parse()

	file, err := os.OpenFile(*out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)
	var mutex sync.Mutex
	store := func(lines []object) error {
		if *refuse && len(lines) > 0 {
			return errors.New("overloaded")
		}
		if *invalid && len(lines) > 0 {
			return consumererror.NewPermanent(errors.New("invalid"))
		}
		mutex.Lock()
		defer mutex.Unlock()
		text := []byte{}
		for _, line := range lines {
			encoded, err := json.Marshal(line)
			check(err)
			text = append(append(text, encoded...), '\n')
		}
		_, err := file.Write(text)
		return err
	}

	traces, err := consumer.NewTraces(func(_ context.Context, all ptrace.Traces) error { return store(spans(all)) })
	check(err)
	logs, err := consumer.NewLogs(func(_ context.Context, all plog.Logs) error { return store(records(all)) })
	check(err)
	metrics, err := consumer.NewMetrics(func(_ context.Context, all pmetric.Metrics) error { return store(points(all)) })
	check(err)

	protocols := object{}
	for name, address := range map[string]string{"http": *http, "grpc": *grpc} {
		if address == "" {
			continue
		}
		protocol := object{"endpoint": address}
		if *cert != "" {
			protocol["tls"] = object{"cert_file": *cert, "key_file": *key}
		}
		protocols[name] = protocol
	}
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	check(confmap.NewFromStringMap(object{"protocols": protocols}).Unmarshal(config))
	settings := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	ctx, host := context.Background(), componenttest.NewNopHost()
	ofTraces, err := factory.CreateTraces(ctx, settings, config, traces)
	check(err)
	ofLogs, err := factory.CreateLogs(ctx, settings, config, logs)
	check(err)
	ofMetrics, err := factory.CreateMetrics(ctx, settings, config, metrics)
	check(err)
	check(ofTraces.Start(ctx, host))
	check(ofLogs.Start(ctx, host))
	check(ofMetrics.Start(ctx, host))
	select {}
}

func spans(all ptrace.Traces) (lines []object) {
	for _, group := range all.ResourceSpans().All() {
		for _, scope := range group.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				lines = append(lines, object{
					"signal": "span", "resource": group.Resource().Attributes().AsRaw(), "name": span.Name(), "kind": span.Kind().String(),
					"trace": span.TraceID().String(), "span": span.SpanID().String(), "parent": span.ParentSpanID().String(),
					"state": span.TraceState().AsRaw(), "start": span.StartTimestamp(), "end": span.EndTimestamp(),
					"status": span.Status().Code().String(), "message": span.Status().Message(), "attributes": span.Attributes().AsRaw(),
				})
			}
		}
	}
	return
}

func records(all plog.Logs) (lines []object) {
	for _, group := range all.ResourceLogs().All() {
		for _, scope := range group.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				lines = append(lines, object{
					"signal": "log", "resource": group.Resource().Attributes().AsRaw(), "name": record.EventName(),
					"time": record.Timestamp(), "attributes": record.Attributes().AsRaw(),
				})
			}
		}
	}
	return
}

func points(all pmetric.Metrics) (lines []object) {
	for _, group := range all.ResourceMetrics().All() {
		for _, scope := range group.ScopeMetrics().All() {
			for _, metric := range scope.Metrics().All() {
				line := func(more object) {
					more["signal"], more["name"], more["unit"] = "metric", metric.Name(), metric.Unit()
					more["resource"] = group.Resource().Attributes().AsRaw()
					lines = append(lines, more)
				}
				switch metric.Type() {
				case pmetric.MetricTypeSum:
					for _, point := range metric.Sum().DataPoints().All() {
						line(object{"value": point.IntValue(), "attributes": point.Attributes().AsRaw()})
					}
				case pmetric.MetricTypeHistogram:
					for _, point := range metric.Histogram().DataPoints().All() {
						line(object{
							"count": point.Count(), "sum": point.Sum(), "buckets": point.BucketCounts().AsRaw(),
							"bounds": point.ExplicitBounds().AsRaw(), "attributes": point.Attributes().AsRaw(),
						})
					}
				}
			}
		}
	}
	return
}
