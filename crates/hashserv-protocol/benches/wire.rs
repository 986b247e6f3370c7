//! What it costs to read and write the protocol.
//!
//! ```text
//! cargo bench -p hashserv-protocol --bench wire
//! ```

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use hashserv_protocol::arguments::{GcMark, Report};
use hashserv_protocol::reply::TaskUnihash;
use hashserv_protocol::{Framing, LineBuffer, MAX_LINE, Request, encode_message, stream};

/// How many lines a client has under way that asks in batches.
const BATCH: usize = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lines(&mut criterion);
    marks(&mut criterion);
    messages(&mut criterion);
    criterion.final_summary();
}

/// A batch of look-ups, from bytes that have arrived to the words of each line.
fn lines(criterion: &mut Criterion) {
    let received: String = (0..BATCH).map(|number| format!("{METHOD} {}\n", hash(number))).collect();
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut buffer = LineBuffer::new(MAX_LINE);
    group.bench_function("lines", |bencher| {
        bencher.iter(|| {
            buffer.extend(black_box(received.as_bytes()));
            while let Ok(Some(line)) = buffer.next_line() {
                black_box(line);
            }
        });
    });
    group.bench_function("lines and their words", |bencher| {
        bencher.iter(|| {
            buffer.extend(black_box(received.as_bytes()));
            while let Ok(Some(line)) = buffer.next_line() {
                let task = stream::text(line).and_then(stream::task);
                black_box(task.is_ok());
            }
        });
    });
    group.finish();
}

fn marks(criterion: &mut Criterion) {
    let line = format!("{{\"mark\": \"keep\", \"where\": {{\"unihash\": \"{}\"}}}}", hash(0));
    criterion.bench_function("mark", |bencher| {
        bencher.iter(|| -> Option<GcMark<'_>> { stream::mark(black_box(&line)).ok() });
    });
}

/// A report as BitBake sends it, and its reply.
fn messages(criterion: &mut Criterion) {
    let text = format!(
        "{{\"report\": {{\"taskhash\": \"{}\", \"method\": \"{METHOD}\", \"outhash\": \"{}\", \"unihash\": \"{}\", \
         \"PN\": \"glibc\", \"PV\": \"2.39\", \"PR\": \"r0\", \"task\": \"do_compile\", \"owner\": \"builder\"}}}}",
        hash(1),
        hash(2),
        hash(3)
    );
    criterion.bench_function("report, read", |bencher| {
        bencher.iter(|| {
            let request = Request::parse(black_box(&text)).ok().flatten();
            let report = request.and_then(|request| request.arguments::<Report<'_>>().ok());
            black_box(report.is_some())
        });
    });
    let reply = TaskUnihash { taskhash: hash(1), method: METHOD.to_owned(), unihash: hash(3) };
    let mut out = Vec::new();
    criterion.bench_function("reply, written", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_message(black_box(&reply), Framing::Lines, &mut out).is_ok()
        });
    });
}

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

fn hash(number: usize) -> String {
    format!("{number:064x}")
}
