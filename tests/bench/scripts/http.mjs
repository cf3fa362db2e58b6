// The requests of http.lua, all at once with fetch. Arguments: URL, count, rounds. Prints the sum of the ids.
const [url, count, rounds] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
let sum = 0;
for (let round = 0; round < rounds; round++) {
  const items = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const response = await fetch(`${url}/${i + 1}`);
      if (!response.ok) throw new Error(`${response.status}`);
      return response.json();
    }),
  );
  for (const item of items) sum += item.id;
}
console.log(sum);
