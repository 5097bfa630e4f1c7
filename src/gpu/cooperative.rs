//! Cooperative matrices (tensor cores, simdgroup matrices): what an adapter lists, and what there are kernels for.

use std::fmt;

use wgpu::Features;

/// The type of a cooperative matrix' elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// f16
    F16,
    /// f32
    F32,
    /// i32
    I32,
    /// u32
    U32,
}

impl From<wgpu::CooperativeScalarType> for Scalar {
    fn from(scalar: wgpu::CooperativeScalarType) -> Self {
        match scalar {
            wgpu::CooperativeScalarType::F16 => Self::F16,
            wgpu::CooperativeScalarType::F32 => Self::F32,
            wgpu::CooperativeScalarType::I32 => Self::I32,
            wgpu::CooperativeScalarType::U32 => Self::U32,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
        })
    }
}

/// One product that the invocations of a subgroup compute together: C[m, n] += A[m, k] B[k, n].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CooperativeMatrix {
    /// m, n, k
    pub sides: [u32; 3],
    /// Elements of A and B.
    pub operands: Scalar,
    /// Elements of C.
    pub sums: Scalar,
}

impl fmt::Display for CooperativeMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m, n, k] = self.sides;
        write!(f, "{m}x{n}x{k} {}->{}", self.operands, self.sums)
    }
}

impl CooperativeMatrix {
    /// A product of square matrices with f32 sums: those that there are kernels for.
    #[must_use]
    pub const fn square(side: u32, operands: Scalar) -> Self {
        Self { sides: [side; 3], operands, sums: Scalar::F32 }
    }

    /// Those that there are kernels for, the fastest of each kind of operands first. Sums are always f32: sums in f16
    /// lose a long reduction's small terms.
    const SUPPORTED: [Self; 3] =
        [Self::square(16, Scalar::F16), Self::square(8, Scalar::F16), Self::square(8, Scalar::F32)];

    /// Workgroup memory that the kernels' tiles may take.
    const WORKGROUP_BYTES: u32 = 32 << 10;

    /// Everything that the adapter lists and wgpu can name, each once.
    pub(super) fn listed(adapter: &wgpu::Adapter) -> Vec<Self> {
        let mut listed: Vec<Self> = Vec::new();
        for properties in adapter.cooperative_matrix_properties() {
            let sides = [properties.m_size, properties.n_size, properties.k_size];
            let matrix = Self { sides, operands: properties.ab_type.into(), sums: properties.cr_type.into() };
            if !listed.contains(&matrix) {
                listed.push(matrix);
            }
        }
        listed
    }

    /// Of those that there are kernels for, the ones that a device of this adapter computes, in order of preference.
    ///
    /// None where there are no subgroups, or where tiles do not fit into workgroup memory. That a matrix is listed does not
    /// yet mean that it is computed right: see [`Gpu::admit`](super::Gpu::admit).
    pub(super) fn usable(adapter: &wgpu::Adapter) -> Vec<Self> {
        let features = adapter.features();
        let has = |feature| features.contains(feature);
        let room = adapter.limits().max_compute_workgroup_storage_size >= Self::WORKGROUP_BYTES;
        if !has(Features::SUBGROUP) || !room || !has(Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            return Vec::new();
        }
        let listed = Self::listed(adapter);
        let fits =
            |matrix: &Self| listed.contains(matrix) && (matrix.operands != Scalar::F16 || has(Features::SHADER_F16));
        Self::SUPPORTED.into_iter().filter(fits).collect()
    }
}

/// wgpu's token for its experimental features, of which cooperative matrices are the only one that Jostle asks for.
#[expect(unsafe_code, reason = "wgpu asks so for its experimental features")]
pub(super) fn permission(usable: &[CooperativeMatrix]) -> wgpu::ExperimentalFeatures {
    if usable.is_empty() {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: what wgpu asks is to know that its experimental parts may have bugs that are undefined behaviour. The part
    // in question is the compilation of cooperative loads, stores and products, which only `shaders/*_coop.wgsl` use.
    // These touch workgroup memory, and storage only where a whole matrix lies within the binding; a test holds
    // the SPIR-V of every one of them against spirv-val, and others the results, with checks on and off, against f64. Without a
    // listed configuration the feature stays off.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
