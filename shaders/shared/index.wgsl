// Position of an invocation in a grid that the host folded over x and y (Grid::fold).

fn index_1d(invocation: vec3<u32>, grid: vec3<u32>, size: u32) -> u32 {
    return invocation.y * grid.x * size + invocation.x;
}
