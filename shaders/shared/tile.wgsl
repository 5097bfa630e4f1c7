// The sums of a tile in the registers of a subgroup of 4, 8 or 16 lanes, for software adapters: of 4 rows for each lane, and
// of one or two blocks of as many columns.
// Needs the kernel's overrides COLUMN_BLOCKS (1 or 2), ROW_LANES (how many lanes' rows there are at all: a power of two) and
// BLOCK (rows of a tile: 16, 32 or 64), and its write_eight(sums, first, place), which writes 8 rows from the tile's row `first`
// on, `place` being a Place of its own.
//
// A lane holds 4 columns of each block; of every 4 depths it reads 4 rows, which subgroupShuffle with a constant lane (one
// instruction) hands to all.

// Two vec4s (one for each column block) for each row, of which 16 lanes have 64.
alias TileSums = array<vec4<f32>, 128>;

// One row, all depths of the step: its 4 or 8 accumulators stay in registers.
fn tile_add_row(sums: ptr<function, TileSums>, row: u32, terms: vec4<f32>, b0: mat4x4<f32>, b1: mat4x4<f32>) {
    var s0 = (*sums)[2u * row];
    var s1 = (*sums)[2u * row + 1u];
    s0 += terms.x * b0[0];
    if COLUMN_BLOCKS > 1u { s1 += terms.x * b1[0]; }
    s0 += terms.y * b0[1];
    if COLUMN_BLOCKS > 1u { s1 += terms.y * b1[1]; }
    s0 += terms.z * b0[2];
    if COLUMN_BLOCKS > 1u { s1 += terms.z * b1[2]; }
    s0 += terms.w * b0[3];
    if COLUMN_BLOCKS > 1u { s1 += terms.w * b1[3]; }
    (*sums)[2u * row] = s0;
    if COLUMN_BLOCKS > 1u { (*sums)[2u * row + 1u] = s1; }
}

// Row `part` of the four that `lane` read, for every depth of the step.
fn tile_row_of(rows: mat4x4<f32>, lane: u32, part: u32) -> vec4<f32> {
    return vec4<f32>(subgroupShuffle(rows[0][part], lane), subgroupShuffle(rows[1][part], lane),
                     subgroupShuffle(rows[2][part], lane), subgroupShuffle(rows[3][part], lane));
}

fn tile_add_lane(sums: ptr<function, TileSums>, lane: u32, rows: mat4x4<f32>, b0: mat4x4<f32>, b1: mat4x4<f32>) {
    tile_add_row(sums, 4u * lane, tile_row_of(rows, lane, 0u), b0, b1);
    tile_add_row(sums, 4u * lane + 1u, tile_row_of(rows, lane, 1u), b0, b1);
    tile_add_row(sums, 4u * lane + 2u, tile_row_of(rows, lane, 2u), b0, b1);
    tile_add_row(sums, 4u * lane + 3u, tile_row_of(rows, lane, 3u), b0, b1);
}

fn tile_add_block(sums: ptr<function, TileSums>, rows: mat4x4<f32>, b0: mat4x4<f32>, b1: mat4x4<f32>) {
    tile_add_lane(sums, 0u, rows, b0, b1);
    if ROW_LANES > 1u {
        tile_add_lane(sums, 1u, rows, b0, b1);
    }
    if ROW_LANES > 2u {
        tile_add_lane(sums, 2u, rows, b0, b1);
        tile_add_lane(sums, 3u, rows, b0, b1);
    }
    if ROW_LANES > 4u {
        tile_add_lane(sums, 4u, rows, b0, b1);
        tile_add_lane(sums, 5u, rows, b0, b1);
        tile_add_lane(sums, 6u, rows, b0, b1);
        tile_add_lane(sums, 7u, rows, b0, b1);
    }
    if ROW_LANES > 8u {
        tile_add_lane(sums, 8u, rows, b0, b1);
        tile_add_lane(sums, 9u, rows, b0, b1);
        tile_add_lane(sums, 10u, rows, b0, b1);
        tile_add_lane(sums, 11u, rows, b0, b1);
        tile_add_lane(sums, 12u, rows, b0, b1);
        tile_add_lane(sums, 13u, rows, b0, b1);
        tile_add_lane(sums, 14u, rows, b0, b1);
        tile_add_lane(sums, 15u, rows, b0, b1);
    }
}

// All rows of a tile, 8 at a time. write_eight's loop is unrolled by the driver, which unrolls loops of up to 32 rounds and 800
// instructions in all; a longer one would index `sums` at run time, so that they would lie in memory and take it 20 seconds to
// compile. An epilogue in an unrolled loop takes as long: only plain vectors are written from it.
fn tile_write(sums: ptr<function, TileSums>, place: Place) {
    write_eight(sums, 0u, place);
    write_eight(sums, 8u, place);
    if BLOCK > 16u {
        write_eight(sums, 16u, place);
        write_eight(sums, 24u, place);
    }
    if BLOCK > 32u {
        write_eight(sums, 32u, place);
        write_eight(sums, 40u, place);
        write_eight(sums, 48u, place);
        write_eight(sums, 56u, place);
    }
}
