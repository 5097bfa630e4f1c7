//! Parts of a data set: random ones, in proportion, kept apart.

use super::{DataError, Dataset, order};

/// A data set in two.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// The samples that stay.
    pub rest: Dataset,
    /// Those kept apart.
    pub apart: Dataset,
}

impl Dataset {
    /// `n` random samples, none twice, in the order they have here, with the same name and number of classes.
    ///
    /// The choice depends on [`len`](Self::len), `n` and `seed` alone, and the samples of a smaller subset are among
    /// those of a larger one by the same seed. Classes are not balanced.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn subset(&self, n: usize, seed: u64) -> Result<Self, DataError> {
        if n == 0 || n > self.len() {
            return Err(DataError::SubsetSize { name: self.name.clone(), n, len: self.len() });
        }
        let indices = order::subset_indices(self.len(), n, seed);
        Ok(self.select(indices.iter().map(|&i| i as usize)))
    }

    /// As [`subset`](Self::subset), each class in proportion to its samples here, up to rounding: what is left of `n`
    /// after rounding down goes to the classes that lost most, the lower label first.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn stratified_subset(&self, n: usize, seed: u64) -> Result<Self, DataError> {
        let chosen =
            self.stratified_indices(n, &|len, quota, class| order::class_subset_indices(len, quota, seed, class))?;
        Ok(self.select(chosen.into_iter()))
    }

    /// Keeps `n` random samples apart, each class in proportion as in [`stratified_subset`](Self::stratified_subset), by a
    /// draw of its own; both parts have their samples in the order they have here. Of a text these are its last `n` windows: no
    /// window of one part has tokens of the other.
    ///
    /// # Errors
    ///
    /// [`DataError::SubsetSize`] where `n` is 0 or above `len()`.
    pub fn set_apart(&self, n: usize, seed: u64) -> Result<Parts, DataError> {
        if let Some(windows) = self.windows()
            && n < self.len()
        {
            let [rest, apart] = windows.set_apart(n).map(|part| Self::of_windows(self.name.clone(), part));
            return Ok(Parts { rest, apart });
        }
        let draw = |len, quota, class| order::class_validation_indices(len, quota, seed, class);
        let apart = self.stratified_indices(n, &draw)?;
        let rest = (0..self.len()).filter(|index| apart.binary_search(index).is_err());
        Ok(Parts { rest: self.select(rest), apart: self.select(apart.iter().copied()) })
    }

    /// Ascending indices of `n` samples, each class in proportion; `draw` takes so many (the second) of so many (the first)
    /// members of a class.
    fn stratified_indices(
        &self,
        n: usize,
        draw: &dyn Fn(usize, usize, u64) -> Vec<u32>,
    ) -> Result<Vec<usize>, DataError> {
        if n == 0 || n > self.len() {
            return Err(DataError::SubsetSize { name: self.name.clone(), n, len: self.len() });
        }
        let mut members = vec![Vec::new(); self.targets.strata()];
        for index in 0..self.len() {
            members[self.targets.stratum(index)].push(index);
        }
        let quotas = proportional(n, &members.iter().map(Vec::len).collect::<Vec<_>>());
        let mut chosen = Vec::with_capacity(n);
        for (class, (members, quota)) in members.iter().zip(quotas).enumerate() {
            let drawn = draw(members.len(), quota, class as u64);
            chosen.extend(drawn.into_iter().map(|i| members[i as usize]));
        }
        chosen.sort_unstable();
        Ok(chosen)
    }
}

/// `n` shared out in proportion to `counts`, by the largest remainders; never more than a count.
fn proportional(n: usize, counts: &[usize]) -> Vec<usize> {
    let total = counts.iter().sum::<usize>().max(1) as u128;
    let exact = |count: usize| count as u128 * n as u128;
    let mut quotas: Vec<usize> = counts.iter().map(|&count| (exact(count) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(exact(counts[class]) % total));
    let left = n - quotas.iter().sum::<usize>();
    for class in by_remainder.into_iter().take(left) {
        quotas[class] += 1;
    }
    quotas
}
