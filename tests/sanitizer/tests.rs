use super::*;

/// Findings of a kernel of one buffer of u32, and the buffer.
fn run(text: &str, subgroup: u32, grid: [u32; 3], words: &[u32]) -> (Vec<Kind>, Vec<u32>) {
    let kernel = Kernel::new(text, "main", &[]).unwrap();
    let buffers = [words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()];
    let len = buffers[0].len();
    let parts = [Part { buffer: 0, start: 0, bound: len, len }];
    let ids: Vec<_> = (0..grid[0]).map(|x| [x, 0, 0]).collect();
    let outcome = kernel.run(&Launch::new(subgroup, grid, &[], &buffers, &parts), &ids).unwrap();
    let bytes = outcome.buffers[0].bytes.chunks_exact(4);
    let words = bytes.map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    (outcome.findings.into_iter().map(|finding| finding.kind).collect(), words)
}

/// A workgroup of 8 that turns eight words round by way of workgroup memory.
fn turned(between: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
        var<workgroup> held: array<u32, 8>;
        @compute @workgroup_size(8)
        fn main(@builtin(local_invocation_index) i: u32) {{
            held[i] = data[i];
            {between}
            data[i] = held[7u - i];
        }}"
    )
}

const EIGHT: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

#[test]
fn a_missing_barrier_is_a_race_and_with_it_there_is_none() {
    let (found, words) = run(&turned("workgroupBarrier();"), 4, [1, 1, 1], &EIGHT);
    assert_eq!((found, words), (vec![], vec![7, 6, 5, 4, 3, 2, 1, 0]));
    let (found, _) = run(&turned(""), 4, [1, 1, 1], &EIGHT);
    assert_eq!(found, [Kind::Race]);
    // Of storage alone it orders no workgroup memory.
    let (found, _) = run(&turned("storageBarrier();"), 4, [1, 1, 1], &EIGHT);
    assert_eq!(found, [Kind::Race]);
}

#[test]
fn a_round_that_overwrites_what_others_still_read_is_a_race() {
    let rounds = |after: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<workgroup> held: array<u32, 8>;
            @compute @workgroup_size(8)
            fn main(@builtin(local_invocation_index) i: u32) {{
                var sum = 0u;
                for (var round = 0u; round < 3u; round++) {{
                    held[i] = data[i] + round;
                    workgroupBarrier();
                    sum += held[(i + 1u) % 8u];
                    {after}
                }}
                data[i] = sum;
            }}"
        )
    };
    assert_eq!(run(&rounds("workgroupBarrier();"), 8, [1, 1, 1], &EIGHT), (vec![], vec![6, 9, 12, 15, 18, 21, 24, 3]));
    assert_eq!(run(&rounds(""), 8, [1, 1, 1], &EIGHT).0, [Kind::Race]);
}

#[test]
fn a_race_for_a_value_that_nobody_uses_is_none() {
    let repeated = |used: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(8)
            fn main(@builtin(local_invocation_index) i: u32) {{
                let found = data[min(i, 4u)]; // past the end the last one again
                if i < 5u {{ data[i] = found + 1u; }}
                if i == 7u {{ data[5] = {used}; }}
            }}"
        )
    };
    assert_eq!(run(&repeated("0u"), 8, [1, 1, 1], &EIGHT), (vec![], vec![1, 2, 3, 4, 5, 0, 6, 7]));
    assert_eq!(run(&repeated("found"), 8, [1, 1, 1], &EIGHT).0, [Kind::Race]);
}

#[test]
fn workgroups_that_touch_the_same_words_race() {
    let sum = |target: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(1)
            fn main(@builtin(workgroup_id) group: vec3<u32>) {{ data[{target}] = group.x; }}"
        )
    };
    assert_eq!(run(&sum("group.x"), 1, [3, 1, 1], &[9; 3]), (vec![], vec![0, 1, 2]));
    assert_eq!(run(&sum("group.x / 2u"), 1, [3, 1, 1], &[9; 3]).0, [Kind::Race]);
    // A read of what another writes is one too.
    assert_eq!(run(&sum("data[0] + group.x"), 1, [2, 1, 1], &[0; 3]).0, [Kind::Race]);
}

#[test]
fn what_nobody_wrote_and_what_is_outside_show() {
    let read = |index: &str, from: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            var<workgroup> held: array<u32, 4>;
            @compute @workgroup_size(1)
            fn main() {{ held[0] = 1u; data[{index}] = {from}; }}"
        )
    };
    assert_eq!(run(&read("0u", "held[data[0]]"), 1, [1, 1, 1], &[0]), (vec![], vec![1]));
    assert_eq!(run(&read("0u", "held[data[0]]"), 1, [1, 1, 1], &[1]).0, [Kind::Unwritten]);
    assert_eq!(run(&read("0u", "held[data[0]]"), 1, [1, 1, 1], &[4]).0, [Kind::PastEnd]);
    assert_eq!(run(&read("data[0]", "2u"), 1, [1, 1, 1], &[1]), (vec![Kind::Outside], vec![1]));
    // 2^30 + 1 words on a byte offset would come round.
    assert_eq!(run(&read("data[0]", "2u"), 1, [1, 1, 1], &[u32::MAX]).0, [Kind::Outside]);
    assert_eq!(run(&read("data[0]", "2u"), 1, [1, 1, 1], &[1 << 30]).0, [Kind::Outside]);
}

#[test]
fn a_component_is_stored_with_its_vector() {
    let stored = |to: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<vec4<u32>>;
            @compute @workgroup_size(2)
            fn main(@builtin(local_invocation_index) i: u32) {{ {to} }}"
        )
    };
    let one = run(&stored("if i == 0u { data[0].x = 9u; data[0].w = 8u; }"), 2, [1, 1, 1], &EIGHT);
    assert_eq!(one, (vec![], vec![9, 1, 2, 8, 4, 5, 6, 7]));
    assert_eq!(run(&stored("data[i].y = 9u;"), 2, [1, 1, 1], &EIGHT), (vec![], vec![0, 9, 2, 3, 4, 9, 6, 7]));
    assert_eq!(run(&stored("data[0][i] = 9u;"), 2, [1, 1, 1], &EIGHT).0, [Kind::Race]);
}

#[test]
fn a_run_that_is_too_long_tells_what_it_found() {
    let text = turned("for (var round = 0u; round < 1000u; round++) { data[7] += held[0] * round; }");
    let kernel = Kernel::new(&text, "main", &[]).unwrap();
    let parts = [Part { buffer: 0, start: 0, bound: 32, len: 32 }];
    let buffers = [vec![0; 32]];
    let launch = Launch { steps: 1000, ..Launch::new(8, [1, 1, 1], &[], &buffers, &parts) };
    let outcome = kernel.run(&launch, &[[0; 3]]).unwrap();
    assert!(!outcome.is_whole && outcome.findings.iter().all(|finding| finding.kind == Kind::Race));
    assert!(!outcome.findings.is_empty());
}

#[test]
fn barriers_and_subgroups_need_everybody() {
    let barrier = |until: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(8)
            fn main(@builtin(local_invocation_index) i: u32) {{
                {until}
                storageBarrier();
                data[i] = 1u;
            }}"
        )
    };
    assert_eq!(run(&barrier(""), 8, [1, 1, 1], &EIGHT).0, []);
    // naga's own check of uniform flow does not see what is loaded.
    assert_eq!(run(&barrier("if data[0] == 0u && data[i] > 3u { return; }"), 8, [1, 1, 1], &EIGHT).0, [Kind::Apart]);
    let sum = |condition: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @compute @workgroup_size(8)
            fn main(@builtin(local_invocation_index) i: u32) {{ if {condition} {{ data[i] = subgroupAdd(data[i]); }} }}"
        )
    };
    assert_eq!(run(&sum("true"), 4, [1, 1, 1], &EIGHT), (vec![], vec![6, 6, 6, 6, 22, 22, 22, 22]));
    assert_eq!(run(&sum("true"), 8, [1, 1, 1], &EIGHT).1, [28; 8]);
    assert_eq!(run(&sum("data[i] < 4u"), 4, [1, 1, 1], &EIGHT), (vec![], vec![6, 6, 6, 6, 4, 5, 6, 7]));
    assert_eq!(run(&sum("data[i] < 4u"), 8, [1, 1, 1], &EIGHT).0, [Kind::Apart]);
}

#[test]
fn flow_values_and_memory_are_wgsls() {
    let text = "struct Pair { first: vec3<f32>, second: u32 }
        @group(0) @binding(0) var<storage, read_write> data: array<u32>;
        fn chosen(x: u32) -> u32 {
            switch x {
                case 0u, 1u: { return 10u; }
                case 2u: { if x == 2u { break; } return 11u; }
                default: { return 12u; }
            }
            return 13u;
        }
        fn add(to: ptr<function, Pair>, by: u32) { (*to).second += by; (*to).first.y = f32(by) * 0.5; }
        @compute @workgroup_size(4)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            var sum = chosen(i);
            loop {
                if sum % 7u == 0u { break; }
                if i == 3u { sum += 2u; continue; }
                continuing { sum += 1u; break if sum > 30u; }
            }
            var pair = Pair(vec3<f32>(1.0, 2.0, 3.0), 5u);
            add(&pair, i);
            let matrix = mat2x2<f32>(vec2<f32>(1.0, 2.0), vec2<f32>(3.0, 4.0));
            let moved = matrix * vec2<f32>(f32(i), 1.0);
            data[4u * i] = sum;
            data[4u * i + 1u] = pair.second + u32(dot(pair.first, vec3<f32>(1.0, 10.0, 100.0)));
            data[4u * i + 2u] = u32(moved.y) + bitcast<u32>(i32(-1)) % 10u;
            data[4u * i + 3u] = pack2x16float(vec2<f32>(1.0, f32(i)));
        }";
    let (found, words) = run(text, 4, [1, 1, 1], &[0; 16]);
    assert_eq!(found, []);
    // 12 and 2 a round, 1 after it, from 12 on: 15, 18, 21.
    assert_eq!(words.iter().step_by(4).copied().collect::<Vec<u32>>(), [14, 14, 14, 21]);
    // 5 + i, and 1 + 10 (i / 2) + 300.
    assert_eq!(words[1..].iter().step_by(4).copied().collect::<Vec<u32>>(), [306, 312, 318, 324]);
    // 2 i + 4, and 4294967295 mod 10.
    assert_eq!(words[2..].iter().step_by(4).copied().collect::<Vec<u32>>(), [9, 11, 13, 15]);
    assert_eq!(
        words[3..].iter().step_by(4).copied().collect::<Vec<u32>>(),
        [0x3C00, 0x3C00_3C00, 0x4000_3C00, 0x4200_3C00]
    );
}
